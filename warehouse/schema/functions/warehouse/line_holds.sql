-- Whether a refused line names or mentions the value: an object in one of its strings or numbers;
-- whatever is no object where no ASCII letter, digit, _ or - goes on beyond either end, be it written
-- plainly, with JSON's escapes, percent-encoded or, as in CSV, with doubled quotes.
-- ingestion/privacy/suppression.py has the same rule.
create or replace function warehouse.line_holds(sought text, payload bytea, reason text) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    line text;
    written text;
    value text := warehouse.normal(sought);
    -- Where its own ends are no letters, anything may stand beside them.
    standing_alone text := case when value ~ '^[A-Za-z0-9_-]' then '(?<![A-Za-z0-9_-])' else '' end
        || regexp_replace(value, '[!-/:-@[-`{-~]', '\\\&', 'g')
        || case when value ~ '[A-Za-z0-9_-]$' then '(?![A-Za-z0-9_-])' else '' end;
begin
    line := warehouse.bytes_as_text(payload);
    -- Most lines tell at once: without escapes it stands there as it is, unless a quote is doubled.
    if
        strpos(lower(line collate "C"), warehouse.as_bytes(warehouse.needle(sought))) = 0
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
            ~ standing_alone
        ) then
            return true;
        end if;
    end loop;
    return false;
end
$$;
