-- Whether a text is the identifier after a prefix such as mailto: is removed or %XX is decoded. Both
-- arguments are texts of bytes.
create or replace function warehouse.is_encoded_identifier(value text, content text) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    rest text := btrim(content, e' \t\n\r\f\v');
    part text;
begin
    if strpos(rest, '%') > 0 and warehouse.equals_identifier(value, warehouse.percent_decoded(rest)) then
        return true;
    end if;
    for place in 1 .. 3 loop
        rest := substring(rest from '^[A-Za-z][A-Za-z0-9_.+-]*:(.*)$');
        exit when rest is null;
        -- For example mailto:ann@example.com?subject=hello.
        foreach part in array array[rest, split_part(rest, '?', 1)] loop
            if
                warehouse.equals_identifier(value, part)
                or (
                    strpos(part, '%') > 0
                    and warehouse.equals_identifier(value, warehouse.percent_decoded(part))
                )
            then
                return true;
            end if;
        end loop;
    end loop;
    return false;
end
$$;
