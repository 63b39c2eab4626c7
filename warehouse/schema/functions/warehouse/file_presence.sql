-- Like warehouse.text_presence for a file's path: its last component also counts without its
-- extensions.
create or replace function warehouse.file_presence(value text, path text) returns integer
language plpgsql immutable strict parallel safe as $$
declare
    stem text := regexp_replace(warehouse.as_bytes(path), '^.*/', '');
begin
    if not warehouse.may_hold(value, warehouse.as_bytes(path)) then
        return 0;
    end if;
    while stem <> '' loop
        if warehouse.is_named(value, stem) then
            return 2;
        end if;
        stem := coalesce(substring(stem from '^(.+)\.[A-Za-z0-9]{1,8}$'), '');
    end loop;
    return warehouse.text_presence(value, path);
end
$$;
