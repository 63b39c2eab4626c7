-- Whether a text may name or mention the identifier: false if the identifier's longest run of letters
-- and digits does not occur in it, however it is escaped. This needs a few passes over the text; a
-- complete search needs a hundred times as long. Both arguments are texts of bytes.
--
-- Each round decodes at least one level of %XX and of backslashes, limited to characters of the run and
-- of further escapes. The complete search decodes at most eight levels. A round may decode more than one
-- level. That can't destroy an occurrence: the identifier contains no escape itself, and no escape
-- beside it reaches into it.
create or replace function warehouse.may_hold(value text, content text) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    run text;
    read text := lower(content collate "C");
    needed text [];
    letter text;
begin
    if value ~ '[\\%]' then
        return true;
    end if;
    -- Numbers in JSON, which are outside of strings, may be written with an exponent.
    if
        value ~ '^-?[0-9.]+$'
        and content ~ '[0-9][eE]'
        and regexp_replace(content, '"([^"\\]|\\.)*"?', '', 'g') ~ '[0-9][eE]'
    then
        return true;
    end if;
    select m.part[1] into run
    from regexp_matches(lower(value collate "C"), '([a-z0-9]+)', 'g') as m (part)
    order by length(m.part[1]) desc
    limit 1;
    if run is null then
        return true;
    end if;
    for level in 0 .. 8 loop
        if strpos(read, run) > 0 or strpos(replace(read, '\', ''), run) > 0 then
            return true;
        end if;
        -- Stop when no escape is left that decodes to a letter, a digit or another escape.
        exit when read !~ '%(25|3[0-9]|[46][1-9a-f]|[57][0-9ac])|%[0-9a-f]?[%\\]|\\[u%]';
        needed := coalesce(
            needed,
            array(
                select distinct c.letter
                from unnest(string_to_array(run || '0123456789abcdefu%', null)) as c (letter)
            )
        );
        foreach letter in array needed loop
            read := replace(read, '%' || to_hex(ascii(letter)), letter);
            read := replace(read, '%' || to_hex(ascii(upper(letter))), letter);
        end loop;
        read := replace(read, '%5c', '\');
        continue when strpos(read, '\') = 0;
        -- Other escapes than \uXXXX lose the backslash.
        read := regexp_replace(regexp_replace(read, '\\+', '\', 'g'), '\\(?![u%])', '', 'g');
        foreach letter in array needed loop
            read := replace(read, '\u00' || to_hex(ascii(letter)), letter);
            read := replace(read, '\u00' || to_hex(ascii(upper(letter))), letter);
        end loop;
        read := replace(read, '\u005c', '\');
    end loop;
    return false;
end
$$;
