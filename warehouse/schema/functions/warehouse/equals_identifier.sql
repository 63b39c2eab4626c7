-- Whether a text, trimmed, equals a normalized identifier (see warehouse.normalized_identifier). Both
-- arguments are texts of bytes (see warehouse.as_bytes).
create or replace function warehouse.equals_identifier(value text, content text) returns boolean
language sql immutable strict parallel safe as $$
    select case
        when strpos(value, '@') > 0 then lower(btrim(content, e' \t\n\r\f\v') collate "C") = value
        else btrim(content, e' \t\n\r\f\v') = value
    end
$$;
