-- How a text contains a normalized identifier: 2 if the text names it, 1 if it is an address that
-- mentions it, otherwise 0. See warehouse.is_named and warehouse.cut_bytes for the rules.
create or replace function warehouse.text_presence(value text, content text) returns integer
language plpgsql immutable strict parallel safe as $$
declare
    bytes text := warehouse.as_bytes(content);
begin
    return case
        when not warehouse.may_hold(value, bytes) then 0
        when warehouse.is_named(value, bytes) then 2
        when warehouse.cut_bytes(value, bytes) <> bytes then 1
        else 0
    end;
end
$$;
