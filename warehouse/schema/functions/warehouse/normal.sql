-- An identifier as it is compared: trimmed, and in lower case where it holds an @. Of white space and
-- letters only ASCII's, so that ingestion/privacy/name_forms.py, which has the rules of all these functions,
-- agrees on every server.
create or replace function warehouse.normal(sought text) returns text
language sql immutable strict parallel safe as $$
    select case
        when strpos(sought, '@') > 0
            then lower(btrim(warehouse.as_bytes(sought), e' \t\n\r\f\v') collate "C")
        else btrim(warehouse.as_bytes(sought), e' \t\n\r\f\v')
    end
$$;
