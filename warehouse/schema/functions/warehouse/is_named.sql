-- Whether a text names the identifier in any form. The rules of this function and of those that it
-- calls are described in ingestion/privacy/name_forms.py, which implements them in Python for loaders;
-- tests/properties/test_erased.py holds both equal. Both arguments are texts of bytes; no content makes
-- it fail.
create or replace function warehouse.is_named(value text, content text, depth integer default 0)
returns boolean
language plpgsql immutable strict parallel safe as $$
begin
    if warehouse.equals_identifier(value, content) then
        return true;
    end if;
    if left(btrim(content, e' \t\n\r\f\v'), 1) in ('{', '[', '"') then
        return depth < 3 and warehouse.json_presence(value, content, depth + 1) = 2;
    end if;
    return warehouse.is_encoded_identifier(value, content);
end
$$;
