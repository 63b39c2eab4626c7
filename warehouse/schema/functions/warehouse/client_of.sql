-- The client that a rejected line names, NULL if it names none. Erased subjects of one client are
-- compared with it; ingestion/privacy/suppression.py (_client_of) has the same rule.
create or replace function warehouse.client_of(payload bytea, reason text) returns text
language plpgsql immutable strict parallel safe cost 10000 as $$
declare
    content json;
begin
    if not warehouse.is_object(payload, reason) then
        return null;
    end if;
    -- JSON may contain \u0000, but PostgreSQL can't extract members from it.
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
