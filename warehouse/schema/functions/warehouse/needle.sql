-- The longest piece of an identifier that stands in a text as it is wherever the identifier does,
-- unless there is a % or a backslash in it; in lower case.
create or replace function warehouse.needle(sought text) returns text
language sql immutable strict parallel safe as $$
    select coalesce(
        (
            select lower(p.part[1] collate "C")
            from regexp_matches(
                btrim(sought, e' \t\n\r\f\v'), '([^[:space:][:cntrl:]"\\%]+)', 'g'
            ) with ordinality as p (part, place)
            order by length(p.part[1]) desc, p.place
            limit 1
        ),
        ''
    )
$$;
