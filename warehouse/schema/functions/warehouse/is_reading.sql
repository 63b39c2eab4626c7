-- Whether a text is the value without a prefix such as mailto:, or with %XX read. All are texts of
-- bytes.
create or replace function warehouse.is_reading(value text, content text) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    rest text := btrim(content, e' \t\n\r\f\v');
    part text;
begin
    if strpos(rest, '%') > 0 and warehouse.is_value(value, warehouse.percent_decoded(rest)) then
        return true;
    end if;
    for place in 1 .. 3 loop
        rest := substring(rest from '^[A-Za-z][A-Za-z0-9_.+-]*:(.*)$');
        exit when rest is null;
        -- As in mailto:ann@example.com?subject=hello.
        foreach part in array array[rest, split_part(rest, '?', 1)] loop
            if
                warehouse.is_value(value, part)
                or (
                    strpos(part, '%') > 0
                    and warehouse.is_value(value, warehouse.percent_decoded(part))
                )
            then
                return true;
            end if;
        end loop;
    end loop;
    return false;
end
$$;
