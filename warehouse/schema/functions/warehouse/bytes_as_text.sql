-- Converts bytes to a text of bytes: one character for each byte, so that any bytes can be read. NUL
-- becomes 0xFF, a byte that never occurs in UTF-8.
create or replace function warehouse.bytes_as_text(content bytea) returns text
language sql immutable strict parallel safe as $$
    select convert_from(
        case position('\x00'::bytea in content)
            when 0 then content
            -- The escape format doubles backslashes.
            else decode(
                regexp_replace(
                    encode(content, 'escape'), '(?<!\\)((?:\\\\)*)\\000', '\1\\377', 'g'
                ),
                'escape'
            )
        end,
        'LATIN1'
    )
$$;
