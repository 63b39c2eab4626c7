-- The longest part of an identifier, in lower case, that occurs unchanged in every text that contains
-- the identifier, unless the text contains a % or a backslash.
create or replace function warehouse.longest_fixed_part(sought text) returns text
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
