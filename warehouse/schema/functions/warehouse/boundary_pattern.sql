-- A regular expression that narrows the texts that match warehouse.like_patterns: the identifier has
-- neither a letter nor a digit beside it, or the text contains an escape.
create or replace function warehouse.boundary_pattern(sought text) returns text
language sql immutable strict parallel safe as $$
    select '(^|[^a-z0-9])'
        || regexp_replace(warehouse.longest_fixed_part(sought), '[!-/:-@[-`{-~]', '\\\&', 'g')
        || '([^a-z0-9]|$)|[\\%]'
$$;
