-- Whether a text is the value in any form (see ingestion/privacy/name_forms.py). Both are texts of bytes; it
-- never fails, whatever they hold.
create or replace function warehouse.is_named(value text, content text, depth integer default 0)
returns boolean
language plpgsql immutable strict parallel safe as $$
begin
    if warehouse.is_value(value, content) then
        return true;
    end if;
    if left(btrim(content, e' \t\n\r\f\v'), 1) in ('{', '[', '"') then
        return depth < 3 and warehouse.json_presence(value, content, depth + 1) = 2;
    end if;
    return warehouse.is_reading(value, content);
end
$$;
