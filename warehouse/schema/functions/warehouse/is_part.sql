-- Whether a part of an address is the value, or an address that has it as a part.
create or replace function warehouse.is_part(value text, part text, depth integer)
returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    decoded text;
begin
    if warehouse.is_value(value, part) or warehouse.is_reading(value, part) then
        return true;
    end if;
    if
        strpos(part, '+') > 0
        and warehouse.is_value(value, warehouse.percent_decoded(replace(part, '+', ' ')))
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
