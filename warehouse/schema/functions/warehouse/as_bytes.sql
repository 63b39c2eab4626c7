-- A text as its bytes in UTF-8, a character for each: in this form texts of columns and the bytes of
-- refused lines are read by the same functions.
create or replace function warehouse.as_bytes(content text) returns text
language sql immutable strict parallel safe as $$
    select case
        when octet_length(content) = length(content) then content
        else warehouse.bytes_as_text(convert_to(content, 'UTF8'))
    end
$$;
