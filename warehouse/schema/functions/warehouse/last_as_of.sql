-- The latest as_of of any model except typed facts, whose as_of is infinity. Runs as the owner, so that
-- a reader of a view needs no grant on the offsets.
create or replace function warehouse.last_as_of() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select max(o.as_of) from warehouse.model_offsets as o where o.as_of < 'infinity'
$$;
