-- How JSON, or text that begins like JSON, contains the identifier: 2 if a string, a member's name or a
-- number names it, 1 if an address mentions it, otherwise 0. Both arguments are texts of bytes. Tokens
-- are found by regular expression instead of a parser, so that no content makes it fail.
create or replace function warehouse.json_presence(
    value text, content text, depth integer default 0, numbers boolean default true
) returns integer
language plpgsql immutable strict parallel safe as $$
declare
    token text [];
    one text;
    number text;
    name text := '';
    presence integer := 0;
    is_numeric boolean := value ~ '^-?[0-9.]+$';
begin
    if depth = 0 and not warehouse.may_hold(value, content) then
        return 0;
    end if;
    for token in
        select m.token
        from
            regexp_matches(
                content,
                '"((?:[^"\\]|\\.)*)"?([ \t\n\r]*:)?'
                '|(?<![A-Za-z0-9_.+-])(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.])',
                'g'
            ) as m (token)
    loop
        if token[3] is not null then
            number := token[3];
            continue when not is_numeric or not numbers or name = any(warehouse.numeric_members());
            if number ~ '[eE]' then
                -- Exponents are expanded only where jsonb does so when it stores a number: not in JSON
                -- inside of strings.
                continue when
                    depth > 0
                    or length(number) > 64
                    or length(substring(number from '[eE][+-]?(.*)$')) > 3;
                number := number::numeric::text;
            end if;
            if
                number = value
                or (strpos(number, '.') > 0 and rtrim(rtrim(number, '0'), '.') = value)
            then
                return 2;
            end if;
            continue;
        end if;
        one := case
            when strpos(token[1], '\') > 0 then warehouse.unescaped(token[1]) else token[1]
        end;
        if token[2] is not null then
            name := one;
        end if;
        if warehouse.is_named(value, one, depth) then
            return 2;
        end if;
        if presence = 0 and warehouse.cut_bytes(value, one, depth) <> one then
            presence := 1;
        end if;
    end loop;
    return presence;
end
$$;
