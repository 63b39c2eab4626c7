-- The as_of that the marts have reached: that of the model that is furthest. Read by views and
-- functions for whoever asks, like warehouse.current_as_of.
create or replace function warehouse.last_as_of() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select max(o.as_of) from warehouse.model_offsets as o where o.as_of < 'infinity'
$$;
