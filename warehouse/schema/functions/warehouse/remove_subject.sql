-- Removes the subject from staging, the facts and bookkeeping tables: rows that name it are deleted;
-- in events that mention it in an address it is cut out. Returns the number of deleted or changed rows
-- by table. The erasure's batch has no number yet, so rows that need the number are kept in pg_temp for
-- warehouse.note_erasure.
create or replace function warehouse.remove_subject(sought text, of_client text) returns jsonb
language plpgsql as $$
declare
    gone jsonb := '{}';
    place record;
    n bigint;
begin
    -- Lock the facts so that no build writes them meanwhile; in the same order as everywhere.
    for place in
        select o.model from warehouse.model_offsets as o where o.as_of = 'infinity' order by o.model
    loop
        perform warehouse.lock_model(place.model);
    end loop;

    -- Collected from raw events and from facts, because facts are kept longer.
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
        warehouse.condition_of_holding('staging.raw_events', of_client is not null, true)
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
    perform warehouse.is_safe_to_touch(f.relation) from pg_temp.erased_facts as f;
    for place in select f.relation from pg_temp.erased_facts as f loop
        execute format(
            'insert into pg_temp.erased_events '
            'select client_id, event_id, occurred_at, batch_seq from %s where %s '
            'on conflict do nothing',
            place.relation,
            warehouse.condition_of_holding(place.relation, of_client is not null, true)
        ) using sought, of_client;
    end loop;
    analyze pg_temp.erased_events;

    -- Models find the cells to recompute by these rows (see warehouse.erased_rows).
    create temporary table erased_rows (model text, content jsonb) on commit drop;

    -- Their sequence numbers stay used, so that an erasure does not count as loss.
    create temporary table erased_sequences on commit drop as
    select distinct
        r.context ->> 'producer' as producer,
        case
            when (r.context ->> 'sequence')::numeric between 0 and 1e15
                then (r.context ->> 'sequence')::numeric::bigint
        end as "sequence",
        e.occurred_at,
        e.batch_seq
    from staging.raw_events as r
    inner join pg_temp.erased_events as e
        on r.client_id = e.client_id and r.event_id = e.event_id and r."timestamp" = e.occurred_at
    where r.context ->> 'producer' is not null and jsonb_typeof(r.context -> 'sequence') = 'number';

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
    if warehouse.is_safe_to_touch(to_regclass('intermediate.int_sequence_uses')) then
        -- Keep a use that another event shares: same producer, number, time and batch.
        create temporary table shared_sequences on commit drop as
        select distinct s.producer, s."sequence", s.occurred_at, s.batch_seq
        from pg_temp.erased_sequences as s
        inner join staging.event_batches as b on s.batch_seq = b.batch_seq
        inner join staging.raw_events as r on b.batch_id = r.batch_id and s.occurred_at = r."timestamp"
        where
            r.context ->> 'producer' = s.producer
            and r.context -> 'sequence' = to_jsonb(s."sequence");
        with gone as (
            delete from intermediate.int_sequence_uses as u using pg_temp.erased_sequences as s
            where
                u.producer = s.producer
                and u."sequence" = s."sequence"
                and u.occurred_at = s.occurred_at
                and u.batch_seq = s.batch_seq
                and not exists (
                    select 1 from pg_temp.shared_sequences as k
                    where
                        k.producer = s.producer
                        and k."sequence" = s."sequence"
                        and k.occurred_at = s.occurred_at
                        and k.batch_seq = s.batch_seq
                )
            returning u.*
        )

        insert into pg_temp.erased_rows select 'int_sequence_uses', to_jsonb(g) from gone as g;
        get diagnostics n = row_count;
        gone := gone || jsonb_build_object('intermediate.int_sequence_uses', n);
    end if;

    gone := gone || warehouse.cut_mentions(sought, of_client);

    -- Tables whose rows are deleted if they name or mention the identifier.
    for place in
        select unnest(array[
            'staging.rejected_events', 'staging.used_sequences', 'staging.unknown_members',
            'staging.clients', 'staging.units', 'staging.users', 'staging.documents',
            'warehouse.restatements'
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
    if of_client is null and warehouse.is_safe_to_touch(to_regclass('intermediate.int_sequence_uses')) then
        with gone as (
            delete from intermediate.int_sequence_uses as u
            where warehouse.text_presence(warehouse.normalized_identifier(sought), u.producer) = 2
            returning u.*
        )

        insert into pg_temp.erased_rows select 'int_sequence_uses', to_jsonb(g) from gone as g;
    end if;
    if of_client is null then
        -- The id of a usage alert contains a hash of its user.
        delete from warehouse.alert_actions as a
        where
            a.alert_id ~ '^usage-'
            and right(a.alert_id, 16) = left(encode(sha256(convert_to(sought, 'UTF8')), 'hex'), 16);
        get diagnostics n = row_count;
        gone := gone || jsonb_build_object('warehouse.alert_actions', n);
        -- Rows that also report something else stay with the text redacted.
        perform warehouse.redact('warehouse.alert_actions', array['taken_by'], sought);
        perform warehouse.redact('warehouse.check_results', array['detail'], sought);
        perform warehouse.redact('warehouse.erasures', array['requested_by'], sought);
        perform warehouse.redact('staging.event_batches', array['source'], sought);
        perform warehouse.redact('staging.loads', array['source', 'error'], sought);
    end if;
    return gone;
end
$$;
