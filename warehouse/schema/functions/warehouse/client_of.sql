-- The client that a refused line speaks of; NULL where that can't be told.
create or replace function warehouse.client_of(payload bytea, reason text) returns text
language plpgsql immutable strict parallel safe cost 10000 as $$
declare
    content json;
begin
    if not warehouse.is_object(payload, reason) then
        return null;
    end if;
    -- What holds NUL is JSON, but none that PostgreSQL takes apart.
    content := regexp_replace(
        convert_from(payload, 'UTF8'), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g'
    );
    return case
        when json_typeof(content #> '{actor,client_id}') = 'string'
            then content #>> '{actor,client_id}'
        when json_typeof(content -> 'client_id') = 'string' then content ->> 'client_id'
    end;
exception when others then
    return null;
end
$$;
