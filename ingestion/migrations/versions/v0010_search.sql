-- What the search of erasures finds, and what it leaves alone: a refused line is read by one rule,
-- here and by the loader (ingestion/erased.py), and bytes that are no text are compared whole.

alter table warehouse.erasures add column identifier_length integer;
alter table warehouse.erasures add column identifier_hash bytea;
alter table warehouse.erasures add column not_searched text[] not null default '{}';

comment on column warehouse.erasures.identifier_length is
'In bytes: of a line that is no object, a loader hashes what is as long. NULL of older erasures.';
comment on column warehouse.erasures.identifier_hash is
'The hash without the client, where subject_hash covers one: for lines that do not tell theirs.';
comment on column warehouse.erasures.not_searched is
'Tables of others, which the owner may not read.';

-- Refused lines ----------------------------------------------------------------------------------
-- Their bytes are looked at as text, a character for each byte, so that there is none that can't be
-- read. NUL becomes a byte that no UTF-8 holds.

create function warehouse.bytes_as_text(content bytea) returns text
language sql immutable strict parallel safe as $$
    select convert_from(
        case position('\x00'::bytea in content)
            when 0 then content
            -- In this encoding a backslash is two.
            else decode(
                regexp_replace(
                    encode(content, 'escape'), '(?<!\\)((?:\\\\)*)\\000', '\1\\377', 'g'
                ),
                'escape'
            )
        end,
        'LATIN1'
    )
$$;

-- Such a text with JSON's escapes read; other characters lose the backslash before them.
create function warehouse.unescaped(content text) returns text
language sql immutable strict parallel safe as $$
    select coalesce(
        string_agg(
            case
                when p.part !~ '^\\.' then p.part
                when length(p.part) > 6 then warehouse.bytes_as_text(
                    convert_to(chr(65536 + ((p.code - 55296) << 10) + p.low - 56320), 'UTF8')
                )
                -- NUL, and halves of pairs.
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

-- Whether a refused line was read as a JSON object before it was refused for something else.
create function warehouse.is_object(payload bytea, reason text) returns boolean
language plpgsql immutable strict parallel safe as $$
begin
    return reason not in ('too_large', 'invalid_encoding', 'invalid_json', 'not_an_object')
        and left(ltrim(warehouse.bytes_as_text(payload), e' \t\r\n'), 1) = '{'
        and pg_input_is_valid(convert_from(payload, 'UTF8'), 'json');
exception when others then
    -- A row of CSV may hold bytes that are no text.
    return false;
end
$$;

-- Whether a refused line holds the value: an object as one of its strings; whatever is no object
-- where no ASCII letter, digit, _ or - goes on beyond either end, be it written plainly, with
-- JSON's escapes or, as in CSV, with doubled quotes. ingestion/erased.py has the same rule.
create function warehouse.line_holds(sought text, payload bytea, reason text) returns boolean
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

drop function warehouse.client_of(bytea);

-- The client that a refused line speaks of; NULL where that can't be told.
create function warehouse.client_of(payload bytea, reason text) returns text
language plpgsql immutable strict parallel safe cost 10000 as $$
declare
    content json;
begin
    if not warehouse.is_object(payload, reason) then
        return null;
    end if;
    -- What holds NUL is JSON, but none that PostgreSQL takes apart.
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

-- The search -------------------------------------------------------------------------------------

create or replace function warehouse.condition_of_holding(relation regclass, of_one_client boolean)
returns text
language sql stable as $$
    with

    columns as (
        select
            a.attname,
            a.attnum,
            t.typcategory as category,
            t.typname as name,
            e.typcategory as element_category
        from pg_attribute as a
        inner join pg_class as c on a.attrelid = c.oid
        inner join pg_type as t on a.atttypid = t.oid
        left join pg_type as e on t.typelem = e.oid and t.typcategory = 'A'
        where
            a.attrelid = relation and a.attnum > 0 and not a.attisdropped
            -- A country is looked up by the IP, and never somebody's identifier.
            and (
                a.attname <> 'country'
                or c.relnamespace::regnamespace::text not in ('staging', 'intermediate', 'marts')
            )
    ),

    conditions as (
        select
            attnum,
            case
                when relation = 'staging.rejected_events'::regclass and attname = 'payload'
                    then 'warehouse.line_holds($1, payload, reason)'
                -- What tells for almost all rows stands outside the function, whose call costs more.
                when category = 'S'
                    then format(
                        '(%1$I = $1 or left(%1$I::text, 1) in (''{'', ''['') '
                        'and warehouse.holds($1, %1$I::text))',
                        attname
                    )
                when name in ('json', 'jsonb')
                    then format(
                        '(strpos(%1$I::text, to_json($1)::text) > 0 '
                        'and warehouse.holds($1, %1$I::jsonb))',
                        attname
                    )
                -- Hashes and digests: in so many random bytes any short text stands somewhere.
                when name = 'bytea' then format('%I = convert_to($1, ''UTF8'')', attname)
                when element_category = 'S' then format('$1 = any(%I::text [])', attname)
                when name in ('_json', '_jsonb')
                    then format(
                        'exists (select from unnest(%I) as e (v) where warehouse.holds($1, e.v::jsonb))',
                        attname
                    )
                when name = '_bytea' then format('convert_to($1, ''UTF8'') = any(%I)', attname)
            end as condition
        from columns
    ),

    scopes as (
        select
            case
                when not of_one_client then '$2::text is null'
                when exists (select from columns as c where c.attname = 'client_id')
                    then 'client_id = $2'
                when relation = 'staging.rejected_events'::regclass
                    then 'coalesce(warehouse.client_of(payload, reason), $2) = $2'
            end as scope
    )

    select
        s.scope || ' and coalesce('
        || string_agg(c.condition, ' or ' order by c.attnum) || ', false)'
    from conditions as c
    cross join scopes as s
    where c.condition is not null
    group by s.scope
$$;

drop function warehouse.holds(text, bytea);
drop function warehouse.quotes(text, text);

-- How many rows of which tables hold the value; nothing where none does, and no number for a table
-- of somebody else's that can't be read.
create or replace function warehouse.search(sought text, of_client text)
returns table ("table" text, "rows" bigint)
language plpgsql stable as $$
declare
    place record;
begin
    for place in
        select
            n.nspname || '.' || c.relname as name,
            c.oid::regclass as relation,
            warehouse.condition_of_holding(c.oid, of_client is not null) as condition,
            has_schema_privilege(n.oid, 'usage')
            and has_table_privilege(c.oid, 'select')
            and not row_security_active(c.oid) as is_readable
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        where
            c.relkind in ('r', 'm')
            and n.nspname not in ('pg_catalog', 'information_schema')
            and n.nspname !~ '^pg_(toast|temp)'
        order by 1
    loop
        continue when place.condition is null;
        "table" := place.name;
        "rows" := null;
        if place.is_readable then
            execute format('select count(*) from only %s where %s', place.relation, place.condition)
            into "rows" using sought, of_client;
        end if;
        if "rows" is distinct from 0 then
            return next;
        end if;
    end loop;
end
$$;

-- The removal ------------------------------------------------------------------------------------

-- Takes the subject out of what is kept beside events and entities; returns how many rows went, by
-- table. Rows that tell of something else as well stay.
create function warehouse.remove_mentions(sought text, of_client text) returns jsonb
language plpgsql as $$
declare
    n bigint;
begin
    execute
        'delete from warehouse.tenants where '
        || warehouse.condition_of_holding('warehouse.tenants', of_client is not null)
    using sought, of_client;
    get diagnostics n = row_count;
    if of_client is null then
        update warehouse.exports
        set
            accepted_by = case when accepted_by = sought then '(erased)' else accepted_by end,
            reason = case when reason = sought then '(erased)' else reason end
        where accepted_by = sought or reason = sought;
        update warehouse.run_events set detail = '(erased)' where detail = sought;
        -- A file that was set aside.
        delete from warehouse.run_events where job = sought;
    end if;
    return case when n > 0 then jsonb_build_object('warehouse.tenants', n) else '{}' end;
end
$$;
