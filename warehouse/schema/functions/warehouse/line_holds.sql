-- Whether a rejected line contains the identifier. A JSON object contains it if one of its strings or
-- numbers names or mentions it. Any other line contains it if no ASCII letter, digit, _ or - is directly
-- beside it, in plain text, with JSON escapes, percent-encoded or, as in CSV, with doubled quotes.
-- ingestion/privacy/suppression.py (is_in_refused) has the same rule.
create or replace function warehouse.line_holds(sought text, payload bytea, reason text) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    line text;
    written text;
    value text := warehouse.normalized_identifier(sought);
    -- An end that is not one of these characters may have anything beside it.
    pattern text := case when value ~ '^[A-Za-z0-9_-]' then '(?<![A-Za-z0-9_-])' else '' end
        || regexp_replace(value, '[!-/:-@[-`{-~]', '\\\&', 'g')
        || case when value ~ '[A-Za-z0-9_-]$' then '(?![A-Za-z0-9_-])' else '' end;
begin
    line := warehouse.bytes_as_text(payload);
    -- Fast path for most lines: without escapes the fixed part of the identifier must be in the line.
    if
        strpos(lower(line collate "C"), warehouse.as_bytes(warehouse.longest_fixed_part(sought))) = 0
        and line !~ '[\\%]'
        and not (value ~ '^-?[0-9.]+$' and line ~ '[0-9][eE]')
    then
        return false;
    end if;
    if warehouse.is_object(payload, reason) then
        return warehouse.json_presence(value, line) > 0;
    end if;
    foreach written in array array[
        line,
        warehouse.unescaped(line),
        replace(line, '""', '"'),
        warehouse.percent_decoded(line),
        warehouse.percent_decoded(replace(line, '+', ' '))
    ] loop
        if (
            case when strpos(value, '@') > 0 then lower(written collate "C") else written end
            ~ pattern
        ) then
            return true;
        end if;
    end loop;
    return false;
end
$$;
