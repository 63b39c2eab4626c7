-- How a value (see warehouse.normal) stands in a text: 2 where the text names it, 1 where it is a part
-- of the text, else 0.
create or replace function warehouse.presence(value text, content text) returns integer
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
