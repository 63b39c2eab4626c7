-- Replaces texts that name or mention the value, in rows that report something else as well.
create or replace function warehouse.redact(relation regclass, columns text [], sought text)
returns void
language plpgsql as $$
declare
    of_column text;
    -- A file's path is read as such.
    presence text;
begin
    foreach of_column in array columns loop
        presence := format(
            'warehouse.%s(warehouse.normal($1), %I)',
            case when of_column in ('source', 'job') then 'file_presence' else 'presence' end,
            of_column
        );
        execute format(
            'update %1$s set %2$I = ''(erased)'' where %2$I is not null and '
            'lower(%2$I collate "C") like any (warehouse.patterns($1)) and %3$s > 0',
            relation, of_column, presence
        ) using sought;
    end loop;
end
$$;
