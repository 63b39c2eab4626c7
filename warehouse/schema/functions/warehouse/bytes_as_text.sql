-- Their bytes are looked at as text, a character for each byte, so that there is none that can't be
-- read. NUL becomes a byte that no UTF-8 holds.

create or replace function warehouse.bytes_as_text(content bytea) returns text
language sql immutable strict parallel safe as $$
    select convert_from(
        case position('\x00'::bytea in content)
            when 0 then content
            -- In this encoding a backslash is two.
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
