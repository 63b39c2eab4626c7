-- A regular expression that such texts match, of those that are like warehouse.patterns: in whatever
-- form a text names an identifier, no letter or digit goes on beyond it.
create or replace function warehouse.bounded(sought text) returns text
language sql immutable strict parallel safe as $$
    select '(^|[^a-z0-9])'
        || regexp_replace(warehouse.needle(sought), '[!-/:-@[-`{-~]', '\\\&', 'g')
        || '([^a-z0-9]|$)|[\\%]'
$$;
