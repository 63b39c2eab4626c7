-- Normalizes an identifier for comparison: trims it and, if it contains an @, converts it to lower case.
-- Only ASCII white space and letters are affected, so that the result does not depend on the server and
-- agrees with ingestion/privacy/name_forms.py, which implements the rules of these functions in Python.
create or replace function warehouse.normalized_identifier(sought text) returns text
language sql immutable strict parallel safe as $$
    select case
        when strpos(sought, '@') > 0
            then lower(btrim(warehouse.as_bytes(sought), e' \t\n\r\f\v') collate "C")
        else btrim(warehouse.as_bytes(sought), e' \t\n\r\f\v')
    end
$$;
