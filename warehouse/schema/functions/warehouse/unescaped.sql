-- Decodes JSON's escapes in a text of bytes; any other character loses the backslash before it.
create or replace function warehouse.unescaped(content text) returns text
language sql immutable strict parallel safe as $$
    select coalesce(
        string_agg(
            case
                when p.part !~ '^\\.' then p.part
                when length(p.part) > 6 then warehouse.bytes_as_text(
                    convert_to(chr(65536 + ((p.code - 55296) << 10) + p.low - 56320), 'UTF8')
                )
                -- NUL and lone surrogates become 0xFF, a byte that no identifier contains.
                when p.code = 0 or p.code between 55296 and 57343 then chr(255)
                when p.code is not null
                    then warehouse.bytes_as_text(convert_to(chr(p.code), 'UTF8'))
                when p.part in ('\b', '\f', '\n', '\r', '\t')
                    then translate(right(p.part, 1), 'bfnrt', e'\b\f\n\r\t')
                else right(p.part, 1)
            end,
            '' order by p.place
        ),
        ''
    )
    from (
        select
            m.place,
            m.part[1] as part,
            case
                when m.part[1] ~ '^\\u....'
                    then ('x0000' || substr(m.part[1], 3, 4))::bit(32)::integer
            end as code,
            case
                when length(m.part[1]) > 6 and m.part[1] ~ '^\\u'
                    then ('x0000' || substr(m.part[1], 9, 4))::bit(32)::integer
            end as low
        from regexp_matches(
            content,
            '(\\u[dD][89abAB][[:xdigit:]]{2}\\u[dD][c-fC-F][[:xdigit:]]{2}'
            || '|\\u[[:xdigit:]]{4}|\\.|[^\\]+|\\)',
            'g'
        ) with ordinality as m (part, place)
    ) as p
$$;
