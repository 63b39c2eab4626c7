-- Converts a text to a text of bytes: one character for each byte of its UTF-8 form. In this form the
-- same functions search column values and the bytes of rejected lines.
create or replace function warehouse.as_bytes(content text) returns text
language sql immutable strict parallel safe as $$
    select case
        when octet_length(content) = length(content) then content
        else warehouse.bytes_as_text(convert_to(content, 'UTF8'))
    end
$$;
