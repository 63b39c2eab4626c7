-- LIKE patterns, one of which a text in lower case must match to name or mention the identifier. They
-- rule out almost all texts cheaply.
create or replace function warehouse.like_patterns(sought text) returns text []
language sql immutable strict parallel safe as $$
    select array[
        '%' || regexp_replace(warehouse.longest_fixed_part(sought), '([\\%_])', '\\\1', 'g') || '%',
        '%\%%',
        '%\\%'
    ]
$$;
