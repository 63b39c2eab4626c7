-- Whether a rejected line is a JSON object, according to its reason and its bytes.
create or replace function warehouse.is_object(payload bytea, reason text) returns boolean
language plpgsql immutable strict parallel safe as $$
begin
    return reason not in ('too_large', 'invalid_encoding', 'invalid_json', 'not_an_object')
        and left(ltrim(warehouse.bytes_as_text(payload), e' \t\r\n'), 1) = '{'
        and pg_input_is_valid(convert_from(payload, 'UTF8'), 'json');
exception when others then
    -- A CSV row may contain bytes that are not valid text.
    return false;
end
$$;
