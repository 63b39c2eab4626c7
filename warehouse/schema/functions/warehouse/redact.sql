-- Replaces texts that name or mention the identifier by (erased). For rows that also report something
-- else and therefore stay.
create or replace function warehouse.redact(relation regclass, columns text [], sought text)
returns void
language plpgsql as $$
declare
    of_column text;
    presence text;
begin
    foreach of_column in array columns loop
        presence := format(
            'warehouse.%s(warehouse.normalized_identifier($1), %I)',
            case when of_column in ('source', 'job') then 'file_presence' else 'text_presence' end,
            of_column
        );
        execute format(
            'update %1$s set %2$I = ''(erased)'' where %2$I is not null and '
            'lower(%2$I collate "C") like any (warehouse.like_patterns($1)) and %3$s > 0',
            relation, of_column, presence
        ) using sought;
    end loop;
end
$$;
