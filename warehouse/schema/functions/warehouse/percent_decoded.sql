-- Decodes %XX in a text of bytes; NUL becomes 0xFF, a byte that no identifier contains.
create or replace function warehouse.percent_decoded(content text) returns text
language sql immutable strict parallel safe as $$
    select coalesce(
        string_agg(
            case
                when p.part[1] = '%00' then chr(255)
                when length(p.part[1]) = 3 and left(p.part[1], 1) = '%'
                    then chr(('x' || substr(p.part[1], 2))::bit(8)::integer)
                else p.part[1]
            end,
            '' order by p.place
        ),
        ''
    )
    from regexp_matches(content, '(%[0-9A-Fa-f]{2}|[^%]+|%)', 'g') with ordinality as p (part, place)
$$;
