-- Whether a text may name or mention the value: false where the value's longest run of letters and
-- digits is not in it, however it is escaped. What is told so costs a few passes over the text, where
-- reading it in depth costs a hundred times that. Both are texts of bytes.
--
-- Each round reads at least one level of %XX and of backslashes, of all that may become the run or
-- another escape; a reading takes eight at most. A round may read more than a level. That destroys no
-- value: it has no escape in itself, and none reaches into it from beside it.
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
    -- Of JSON exponents are read, which stand outside strings.
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
        -- Nothing becomes a letter, a digit or another escape.
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
        -- What is no \uXXXX loses the backslash.
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
