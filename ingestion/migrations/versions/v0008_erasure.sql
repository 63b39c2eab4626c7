-- Erasure, and retention. Who was erased is known by a keyed hash alone.

create table warehouse.erasure_key (
    is_the_one boolean primary key default true check (is_the_one),
    "key" bytea not null
);

comment on table warehouse.erasure_key is
'The key of the hashes in warehouse.erasures, drawn with the first erasure. For the owner and the loader alone: with it a guess at an identifier can be tried.';

create table warehouse.erasures (
    erasure_id bigint generated always as identity primary key,
    kind text not null check (kind in ('user_id', 'lead_id', 'anonymous_id', 'client_id')),
    is_of_one_client boolean not null,
    subject_hash bytea not null,
    state text not null default 'begun' check (state in ('begun', 'removed', 'verified')),
    requested_by text not null,
    begun_at timestamptz not null default clock_timestamp(),
    removed_at timestamptz,
    verified_at timestamptz,
    batch_seq bigint,
    rows_forgotten_at timestamptz,
    removed jsonb not null default '{}',
    found jsonb
);

comment on table warehouse.erasures is
'The receipts. An erasure that is not verified was broken off: the same command takes it up again.';
comment on column warehouse.erasures.is_of_one_client is
'The identifier was erased under one client alone, which the hash covers.';
comment on column warehouse.erasures.subject_hash is
'HMAC-SHA256 of the identifier under warehouse.erasure_key: all that is kept of it.';
comment on column warehouse.erasures.state is
'begun: no line of the subject lands any more · removed: it is gone from what landed and from the facts · verified: marts are built without it and the search has been made.';
comment on column warehouse.erasures.batch_seq is
'The erasure''s own batch; empty where nothing of the subject was there.';
comment on column warehouse.erasures.removed is
'How many rows went, by table; of marts, how many named the subject.';
comment on column warehouse.erasures.found is
'What the search found afterwards, by table: nothing, if all is well.';

comment on column warehouse.erasures.rows_forgotten_at is
'When warehouse.erased_rows was emptied: a model that has not read the erasure by then is recomputed in full.';

create table warehouse.erased_rows (
    model text not null,
    batch_seq bigint not null,
    content jsonb not null
);

comment on table warehouse.erased_rows is
'What facts and entities were erased, and the rows of models that were replaced for it: models downstream find the cells that this touches. Empty but while an erasure is under way.';
comment on column warehouse.erased_rows.batch_seq is
'The erasure''s batch; of a replaced row, the batch up to which its model was built then.';

create index erased_rows_by_model on warehouse.erased_rows (model);

create index erasures_by_subject on warehouse.erasures (subject_hash);

comment on column staging.event_batches.kind is
'events; the entity that the batch changed: clients, units, users, documents; or erasure, which took events out of earlier batches.';
comment on column staging.event_batches.load_id is
'The load that it is a chunk of; of an erasure, which is no load, its batch_id below zero.';

comment on column staging.event_batches.erased is
'Accepted events that are gone since: an erasure took them out, or a rebuild of the typed facts was allowed to lose what retention had dropped. What is modelled is fewer by these.';

alter table staging.event_batches add column erased_by bigint;

comment on column staging.event_batches.erased_by is
'The batch_seq of the last erasure that took events out of this batch.';

create index event_batches_erasures on staging.event_batches (batch_seq) where kind = 'erasure';
create index event_batches_erased on staging.event_batches (erased_by) where erased_by is not null;

-- The search -------------------------------------------------------------------------------------
-- An identifier is sought as a whole value: a column's whole text, or a whole string of a JSON value,
-- be it a member's name or its value. The text is asked first, which costs the least and tells for
-- almost all rows.

create function warehouse.holds(sought text, content jsonb) returns boolean
language sql immutable strict parallel safe as $$
    select
        strpos(content::text, to_json(sought)::text) > 0
        and (
            jsonb_path_exists(content, '$.** ? (@ == $sought)', jsonb_build_object('sought', sought))
            or jsonb_path_exists(
                content,
                '$.** ? (@.type() == "object").keyvalue() ? (@.key == $sought)',
                jsonb_build_object('sought', sought)
            )
        )
$$;

-- What is no JSON holds a value that stands in it between other than letters, digits, _ and -.
create function warehouse.quotes(sought text, content text) returns boolean
language plpgsql immutable strict parallel safe as $$
begin
    if pg_input_is_valid(content, 'jsonb') then
        return warehouse.holds(sought, content::jsonb);
    end if;
    return content ~ (
        '(^|[^[:alnum:]_-])'
        || regexp_replace(sought, '[^[:alnum:]_ ]', '\\\&', 'g')
        || '($|[^[:alnum:]_-])'
    );
end
$$;

-- JSON may be kept as text, as the canonical row of an entity is.
create function warehouse.holds(sought text, content text) returns boolean
language sql immutable strict parallel safe as $$
    select
        content = sought
        or (
            left(content, 1) in ('{', '[')
            and strpos(content, to_json(sought)::text) > 0
            and pg_input_is_valid(content, 'jsonb')
            and warehouse.holds(sought, content::jsonb)
        )
$$;

-- Bytes are a text or JSON; of what is neither it is enough that they hold the identifier's.
create function warehouse.holds(sought text, content bytea) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
    holds_bytes boolean := position(convert_to(sought, 'UTF8') in content) > 0;
begin
    -- In JSON any letter may be written as \u and its number.
    if not holds_bytes and position('\x5c75'::bytea in content) = 0 then
        return false;
    end if;
    return warehouse.quotes(sought, convert_from(content, 'UTF8'));
exception when others then
    return holds_bytes;
end
$$;

-- The client that a quarantined line speaks of; NULL where it does not say.
create function warehouse.client_of(payload bytea) returns text
language plpgsql immutable strict parallel safe as $$
declare
    content jsonb;
begin
    content := convert_from(payload, 'UTF8')::jsonb;
    return coalesce(content #>> '{actor,client_id}', content ->> 'client_id');
exception when others then
    return null;
end
$$;

-- The condition under which a row of a table holds the value ($1), of one client ($2) or whosever.
-- One for every column that can hold a text, from the catalogue: so a new column can't be forgotten.
-- NULL for a table without such a column, or without clients where the search is of one.
create function warehouse.condition_of_holding(relation regclass, of_one_client boolean)
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
        inner join pg_type as t on a.atttypid = t.oid
        left join pg_type as e on t.typelem = e.oid and t.typcategory = 'A'
        where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
    ),

    conditions as (
        select
            attnum,
            case
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
                when name = 'bytea' then format('warehouse.holds($1, %I)', attname)
                when element_category = 'S' then format('$1 = any(%I::text [])', attname)
                when name in ('_json', '_jsonb')
                    then format(
                        'exists (select from unnest(%I) as e (v) where warehouse.holds($1, e.v::jsonb))',
                        attname
                    )
                when name = '_bytea'
                    then format(
                        'exists (select from unnest(%I) as e (v) where warehouse.holds($1, e.v))',
                        attname
                    )
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
                    then 'coalesce(warehouse.client_of(payload), $2) = $2'
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

-- How many rows of which tables hold the value; nothing where none does.
create function warehouse.search(sought text, of_client text)
returns table ("table" text, "rows" bigint)
language plpgsql stable as $$
declare
    place record;
begin
    for place in
        select
            n.nspname || '.' || c.relname as name,
            c.oid::regclass as relation,
            warehouse.condition_of_holding(c.oid, of_client is not null) as condition
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        where
            c.relkind in ('r', 'm')
            and n.nspname not in ('pg_catalog', 'information_schema')
            and n.nspname !~ '^pg_(toast|temp)'
        order by 1
    loop
        continue when place.condition is null;
        execute format('select count(*) from only %s where %s', place.relation, place.condition)
        into "rows" using sought, of_client;
        if "rows" > 0 then
            "table" := place.name;
            return next;
        end if;
    end loop;
end
$$;

-- The removal ------------------------------------------------------------------------------------

-- Takes the subject out of what landed, of the facts and of what is kept beside the models; returns
-- how many rows went, by table. The caller commits the batch that this belongs to; its number is not
-- known yet, so what carries it is left in pg_temp for warehouse.note_erasure.
create function warehouse.remove_subject(sought text, of_client text) returns jsonb
language plpgsql as $$
declare
    gone jsonb := '{}';
    place record;
    n bigint;
begin
    -- No fact is written meanwhile: in the order in which all take these locks.
    for place in
        select o.model from warehouse.model_offsets as o where o.as_of = 'infinity' order by o.model
    loop
        perform pg_advisory_xact_lock(hashtextextended('warehouse.model ' || place.model, 0));
    end loop;

    -- Events of which raw events or facts know: facts are kept longer.
    create temporary table erased_events (
        client_id text,
        event_id uuid,
        occurred_at timestamptz,
        batch_seq bigint,
        primary key (client_id, event_id, occurred_at)
    ) on commit drop;
    execute format(
        'insert into pg_temp.erased_events '
        'select r.client_id, r.event_id, r."timestamp", b.batch_seq from ('
        'select client_id, event_id, "timestamp", batch_id from staging.raw_events '
        'where ($2::text is null or client_id = $2) and (event_id::text = $1 or (%s))'
        ') as r inner join staging.event_batches as b on r.batch_id = b.batch_id',
        warehouse.condition_of_holding('staging.raw_events', of_client is not null)
    ) using sought, of_client;
    create temporary table erased_facts on commit drop as
    select format('%I.%I', t.schemaname, t.tablename)::regclass as relation
    from warehouse.model_offsets as o
    inner join pg_tables as t on o.model = t.tablename and t.schemaname = 'intermediate'
    where
        o.as_of = 'infinity'
        and 3 = (
            select count(*) from pg_attribute as a
            where
                a.attrelid = format('%I.%I', t.schemaname, t.tablename)::regclass
                and a.attname in ('client_id', 'event_id', 'occurred_at')
        );
    for place in select f.relation from pg_temp.erased_facts as f loop
        execute format(
            'insert into pg_temp.erased_events '
            'select client_id, event_id, occurred_at, batch_seq from %s where %s '
            'on conflict do nothing',
            place.relation,
            warehouse.condition_of_holding(place.relation, of_client is not null)
        ) using sought, of_client;
    end loop;
    analyze pg_temp.erased_events;

    -- Models find by these what they have to recompute (see warehouse.erased_rows).
    create temporary table erased_rows (model text, content jsonb) on commit drop;

    -- Their numbers stay used: erasure is no loss.
    create temporary table erased_sequences on commit drop as
    select distinct
        r.context ->> 'producer' as producer,
        (r.context ->> 'sequence')::numeric::bigint as "sequence",
        e.occurred_at,
        e.batch_seq
    from staging.raw_events as r
    inner join pg_temp.erased_events as e
        on r.client_id = e.client_id and r.event_id = e.event_id and r."timestamp" = e.occurred_at
    where r.context ->> 'producer' is not null and r.context ->> 'sequence' is not null;

    delete from staging.raw_events as r using pg_temp.erased_events as e
    where r.client_id = e.client_id and r.event_id = e.event_id and r."timestamp" = e.occurred_at;
    get diagnostics n = row_count;
    gone := gone || jsonb_build_object('staging.raw_events', n);

    for place in select f.relation from pg_temp.erased_facts as f loop
        execute format(
            'with gone as ('
            'delete from %s as f using pg_temp.erased_events as e '
            'where f.client_id = e.client_id and f.event_id = e.event_id '
            'and f.occurred_at = e.occurred_at returning f.*'
            ') insert into pg_temp.erased_rows '
            'select (select c.relname from pg_class as c where c.oid = %s), to_jsonb(g) from gone as g',
            place.relation, place.relation::oid
        );
        get diagnostics n = row_count;
        gone := gone || jsonb_build_object(place.relation, n);
    end loop;
    if to_regclass('intermediate.int_sequence_uses') is not null then
        -- Another event may have come with the same number at the same time.
        with gone as (
            delete from intermediate.int_sequence_uses as u using pg_temp.erased_sequences as s
            where
                u.producer = s.producer
                and u."sequence" = s."sequence"
                and u.occurred_at = s.occurred_at
                and u.batch_seq = s.batch_seq
                and not exists (
                    select from staging.raw_events as r
                    inner join staging.event_batches as b on r.batch_id = b.batch_id
                    where
                        b.batch_seq = s.batch_seq
                        and r."timestamp" = s.occurred_at
                        and r.context ->> 'producer' = s.producer
                        and (r.context ->> 'sequence')::numeric = s."sequence"
                )
            returning u.*
        )

        insert into pg_temp.erased_rows select 'int_sequence_uses', to_jsonb(g) from gone as g;
        get diagnostics n = row_count;
        gone := gone || jsonb_build_object('intermediate.int_sequence_uses', n);
    end if;

    -- Entities, as the models read them.
    for place in
        select e.name, e.key
        from (values ('clients', 'client_id'), ('users', 'user_id')) as e (name, key)
        where to_regclass('intermediate.stg_' || e.name) is not null
    loop
        execute format(
            'insert into pg_temp.erased_rows select %L, to_jsonb(v) from intermediate.%I as v '
            'where v.%I in (select %I from staging.%I where %s)',
            'stg_' || place.name, 'stg_' || place.name, place.key, place.key, place.name,
            warehouse.condition_of_holding(
                format('staging.%I', place.name)::regclass, of_client is not null
            )
        ) using sought, of_client;
    end loop;

    -- Rows that go where they hold the value.
    for place in
        select unnest(array[
            'staging.rejected_events', 'staging.used_sequences', 'staging.clients', 'staging.units',
            'staging.users', 'staging.documents', 'warehouse.restatements'
        ]::regclass []) as relation
    loop
        continue when warehouse.condition_of_holding(place.relation, of_client is not null) is null;
        execute format(
            'delete from %s where %s',
            place.relation,
            warehouse.condition_of_holding(place.relation, of_client is not null)
        ) using sought, of_client;
        get diagnostics n = row_count;
        gone := gone || jsonb_build_object(place.relation, n);
    end loop;
    if of_client is null and to_regclass('intermediate.int_sequence_uses') is not null then
        with gone as (
            delete from intermediate.int_sequence_uses as u where u.producer = sought returning u.*
        )

        insert into pg_temp.erased_rows select 'int_sequence_uses', to_jsonb(g) from gone as g;
    end if;
    if of_client is null then
        -- Usage alerts bear a hash of their user in their names.
        delete from warehouse.alert_actions as a
        where
            a.alert_id ~ '^usage-'
            and right(a.alert_id, 16) = left(encode(sha256(convert_to(sought, 'UTF8')), 'hex'), 16);
        get diagnostics n = row_count;
        gone := gone || jsonb_build_object('warehouse.alert_actions', n);
        -- Rows that tell of something else as well, and stay.
        update warehouse.alert_actions set taken_by = '(erased)' where taken_by = sought;
        update warehouse.check_results set detail = '(erased)' where detail = sought;
        update warehouse.erasures set requested_by = '(erased)' where requested_by = sought;
        update staging.event_batches set source = '(erased)' where source = sought;
        update staging.loads
        set
            source = case when source = sought then '(erased)' else source end,
            error = case when error = sought then '(erased)' else error end
        where source = sought or error = sought;
    end if;
    return (
        select coalesce(jsonb_object_agg(g.key, g.value), '{}')
        from jsonb_each(gone) as g
        where g.value <> '0'
    );
end
$$;

-- Writes into the ledger what warehouse.remove_subject took out, under the erasure's batch.
create function warehouse.note_erasure(erasure_batch bigint, sought text) returns void
language plpgsql as $$
begin
    update staging.event_batches as b
    set erased = b.erased + e.events, erased_by = erasure_batch
    from (
        select batch_seq, count(*) as events from pg_temp.erased_events group by batch_seq
    ) as e
    where b.batch_seq = e.batch_seq;
    insert into warehouse.erased_rows (model, batch_seq, content)
    select r.model, erasure_batch, r.content from pg_temp.erased_rows as r;
    insert into staging.used_sequences (batch_seq, producer, "sequence", day)
    select distinct
        erasure_batch,
        s.producer,
        s."sequence",
        (s.occurred_at at time zone 'utc')::date
    from pg_temp.erased_sequences as s
    where s.producer <> sought;
end
$$;

-- Retention --------------------------------------------------------------------------------------

create table staging.dropped_months (
    month date primary key,
    events bigint not null,
    dropped_at timestamptz not null default clock_timestamp()
);

comment on table staging.dropped_months is
'The months of staging.raw_events that retention has dropped, with how many events: those are in the typed facts alone.';
comment on column staging.dropped_months.dropped_at is 'The last time: what lands of such a month later is dropped again.';

alter table staging.rejected_events add column expired_at timestamptz;

comment on column staging.rejected_events.expired_at is
'When its payload and detail were removed, 30 days after receipt.';

alter table warehouse.builds add column allows_lost_events boolean not null default false;

comment on column warehouse.builds.allows_lost_events is
'Typed facts may be rebuilt although retention has dropped some of their events.';

-- Drops a month of raw events, as the owner. Returns how many there were; NULL, with nothing done,
-- where one of them came with a batch after `consumed`. Loaders wait meanwhile.
create function staging.drop_raw_month(month_start date, consumed bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    partition regclass := to_regclass(format('staging.%I', 'raw_events_' || to_char(month_start, 'YYYY_MM')));
    is_ahead boolean;
    n bigint;
begin
    perform pg_advisory_xact_lock(7110002);
    -- In the order in which loaders take them.
    lock table only staging.raw_events in access exclusive mode;
    execute format('lock table %s in access exclusive mode', partition);
    execute format(
        'select exists (select from staging.event_batches as b where b.batch_seq > $1 '
        'and exists (select from %s as r where r.batch_id = b.batch_id))',
        partition
    ) into is_ahead using consumed;
    if is_ahead then
        return null;
    end if;
    execute format('select count(*) from %s', partition) into n;
    execute format('drop table %s', partition);
    insert into staging.dropped_months as d (month, events) values (month_start, n)
    on conflict (month) do update
    set events = d.events + excluded.events, dropped_at = excluded.dropped_at;
    return n;
end
$$;
revoke all on function staging.drop_raw_month(date, bigint) from public;

-- Of some events those that landed and were dropped since: the typed facts know them. As the owner,
-- for a loader reads no facts.
create function staging.landed_and_dropped(
    clients text [], event_ids uuid [], instants timestamptz []
) returns setof bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if to_regclass('intermediate.int_events') is not null then
        return query execute
            'select k.position - 1 from unnest($1, $2, $3) with ordinality '
            'as k (client_id, event_id, happened_at, position) where ('
            'select true from intermediate.int_events as e where e.client_id = k.client_id '
            'and e.event_id = k.event_id and e.occurred_at = k.happened_at)'
        using clients, event_ids, instants;
    end if;
end
$$;
revoke all on function staging.landed_and_dropped(text [], uuid [], timestamptz []) from public;
comment on function staging.landed_and_dropped(text [], uuid [], timestamptz []) is
'The positions, from 0, of the events that the typed facts know.';

-- Builds -----------------------------------------------------------------------------------------
-- A model that goes past an erasure which is forgotten is recomputed in full, in place.
create or replace function warehouse.begin_model(
    model_name text, invocation text, code_checksum text, upstream text [], is_fact boolean,
    is_new boolean
) returns text
language plpgsql as $$
declare
    pin warehouse.builds;
    stands warehouse.model_offsets;
    goes_to warehouse.model_offsets;
    missing text;
    run_mode text;
    is_past_erasure boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('warehouse.model ' || model_name, 0));
    select * into pin from warehouse.builds as b where b.invocation_id = invocation;
    if not found then
        raise exception 'this build has no pin' using hint = 'Build through `warehouse build` or `dbt build`.';
    end if;
    select u.name into missing
    from unnest(upstream) as u (name)
    where not exists (select from warehouse.model_offsets as o where o.model = u.name)
    limit 1;
    if found then
        raise exception '% reads %, which was never built', model_name, missing
        using hint = format('Build it first: `warehouse build --select +%s`.', model_name);
    end if;
    select * into stands from warehouse.model_offsets as o where o.model = model_name;

    -- The pin, or less where an upstream model stands lower.
    select
        least(pin.batch_seq, min(o.batch_seq)),
        case when is_fact then 'infinity' else least(pin.as_of, min(o.as_of)) end
    into goes_to.batch_seq, goes_to.as_of
    from warehouse.model_offsets as o
    where o.model = any(upstream);

    is_past_erasure := not is_fact and exists (
        select from staging.event_batches as b
        where b.kind = 'erasure' and b.batch_seq > stands.batch_seq and b.batch_seq <= pin.batch_seq
    );
    if is_new or stands.model is null or stands.checksum <> code_checksum or pin.full_refresh then
        run_mode := 'full';
        if is_fact and not pin.allows_lost_events and exists (select from staging.dropped_months) then
            raise exception '% can not be rebuilt: retention has dropped events that are nowhere else',
                model_name
            using hint = 'To lose them, build with --allow-lost-events.';
        end if;
        -- The fact of all events tells what is modelled: what it loses now is explained.
        if model_name = 'int_events' then
            update staging.event_batches as b
            set erased = b.accepted - (
                select count(*) from staging.raw_events as r where r.batch_id = b.batch_id
            )
            where b.batch_seq <= goes_to.batch_seq and exists (
                select from staging.dropped_months as d
                where
                    d.month >= date_trunc('month', b.min_timestamp at time zone 'utc')
                    and d.month <= b.max_timestamp at time zone 'utc'
            );
        end if;
    elsif pin.window_start is not null then
        run_mode := 'window';
        goes_to := stands;
    else
        run_mode := 'incremental';
        -- Another build may have moved the model past this one's pin: then nothing is left to do.
        goes_to.batch_seq := greatest(goes_to.batch_seq, stands.batch_seq);
        goes_to.as_of := greatest(goes_to.as_of, stands.as_of);
        -- What was erased tells which cells it was in, until that is forgotten.
        if is_past_erasure and exists (
            select from warehouse.erasures as e
            where
                e.rows_forgotten_at is not null
                and e.batch_seq > stands.batch_seq
                and e.batch_seq <= goes_to.batch_seq
        ) then
            run_mode := 'full';
        end if;
    end if;
    -- A backfill recomputes marts: events that are in a fact stay as they are.
    if run_mode = 'full' or (run_mode = 'window' and not is_fact) then
        stands.batch_seq := -1;
        stands.as_of := '-infinity';
    end if;

    perform
        set_config('warehouse.mode', run_mode, true),
        set_config('warehouse.is_past_erasure', is_past_erasure::text, true),
        set_config('warehouse.from_batch', stands.batch_seq::text, true),
        set_config('warehouse.from_as_of', stands.as_of::text, true),
        set_config('warehouse.to_batch', goes_to.batch_seq::text, true),
        set_config('warehouse.to_as_of', goes_to.as_of::text, true),
        set_config('warehouse.window_start', coalesce(pin.window_start::text, ''), true),
        set_config('warehouse.window_end', coalesce(pin.window_end::text, ''), true);
    return run_mode;
end
$$;
