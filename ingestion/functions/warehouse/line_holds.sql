-- Whether a refused line holds the value: an object as one of its strings; whatever is no object
-- where no ASCII letter, digit, _ or - goes on beyond either end, be it written plainly, with
-- JSON's escapes or, as in CSV, with doubled quotes. ingestion/erased.py has the same rule.
create or replace function warehouse.line_holds(sought text, payload bytea, reason text) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    line text;
    value text := warehouse.bytes_as_text(convert_to(sought, 'UTF8'));
    -- Where its own ends are no letters, anything may stand beside them.
    standing_alone text := case when value ~ '^[A-Za-z0-9_-]' then '(?<![A-Za-z0-9_-])' else '' end
        || regexp_replace(value, '[!-/:-@[-`{-~]', '\\\&', 'g')
        || case when value ~ '[A-Za-z0-9_-]$' then '(?![A-Za-z0-9_-])' else '' end;
begin
    -- Most lines tell at once: without escapes it stands there as it is, unless a quote is doubled.
    if
        position(convert_to(sought, 'UTF8') in payload) = 0
        and position('\x5c'::bytea in payload) = 0
        and position('"' in sought) = 0
    then
        return false;
    end if;
    line := warehouse.bytes_as_text(payload);
    if warehouse.is_object(payload, reason) then
        return exists (
            select from regexp_matches(line, '"((?:[^"\\]|\\.)*)"', 'g') as m (part)
            where warehouse.unescaped(m.part[1]) = value
        );
    end if;
    return line ~ standing_alone
        or warehouse.unescaped(line) ~ standing_alone
        or replace(line, '""', '"') ~ standing_alone;
end
$$;
