-- Cuts an identifier out of a text that mentions it (see warehouse.cut_bytes).
create or replace function warehouse.cut(value text, content text) returns text
language sql immutable strict parallel safe as $$
    select case
        when warehouse.may_hold(value, warehouse.as_bytes(content))
            then convert_from(
                convert_to(warehouse.cut_bytes(value, warehouse.as_bytes(content)), 'LATIN1'),
                'UTF8'
            )
        else content
    end
$$;

-- Cuts an identifier out of the strings of JSON.
create or replace function warehouse.cut(value text, content jsonb) returns jsonb
language plpgsql immutable strict parallel safe as $$
declare
    without text;
begin
    select string_agg(
        case
            when t.part[2] is null or warehouse.cut(value, s.string) = s.string then t.part[1]
            else to_json(warehouse.cut(value, s.string))::text
        end,
        '' order by t.place
    )
    into without
    from
        regexp_matches(content::text, '("((?:[^"\\]|\\.)*)"|[^"]+)', 'g')
        with ordinality as t (part, place)
    cross join lateral (
        select case when t.part[2] is null then '' else (t.part[1]::jsonb) #>> '{}' end as string
    ) as s;
    return without::jsonb;
end
$$;
