-- Finds the events that landed before and whose month was dropped since: the typed facts still hold
-- them. Runs as the owner, because loaders may not read facts; therefore the fact must be a plain table
-- that runs no code of builders.
create or replace function staging.landed_and_dropped(
    clients text[], event_ids uuid[], instants timestamptz[]
) returns setof bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set datestyle = 'ISO, MDY'
-- Each key is looked up in the index; the table is never scanned.
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    if to_regclass('intermediate.int_events') is not null then
        perform warehouse.is_safe_to_touch('intermediate.int_events');
        return query execute
            'select k.position - 1 from unnest($1, $2, $3) with ordinality '
            'as k (client_id, event_id, happened_at, position) '
            'inner join intermediate.int_events as e on k.client_id = e.client_id '
            'and k.event_id = e.event_id and k.happened_at = e.occurred_at'
        using clients, event_ids, instants;
    end if;
end
$$;

revoke all on function staging.landed_and_dropped(text[], uuid[], timestamptz[]) from public;

comment on function staging.landed_and_dropped(text[], uuid[], timestamptz[]) is
'The positions, from 0, of the events that the typed facts hold.';
