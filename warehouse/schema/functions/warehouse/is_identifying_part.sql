-- Whether a part of an address is the identifier in any form, or an encoded address that contains it.
create or replace function warehouse.is_identifying_part(value text, part text, depth integer)
returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    decoded text;
begin
    if warehouse.equals_identifier(value, part) or warehouse.is_encoded_identifier(value, part) then
        return true;
    end if;
    if
        strpos(part, '+') > 0
        and warehouse.equals_identifier(value, warehouse.percent_decoded(replace(part, '+', ' ')))
    then
        return true;
    end if;
    if strpos(part, '%') = 0 then
        return false;
    end if;
    decoded := warehouse.percent_decoded(part);
    return warehouse.is_named(value, decoded, depth + 1)
        or warehouse.cut_bytes(value, decoded, depth + 1) <> decoded;
end
$$;
