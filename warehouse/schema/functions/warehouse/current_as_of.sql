-- Runs as the owner, so that a reader of a view needs no grant on the offsets.
create or replace function warehouse.current_as_of(model_name text) returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select o.as_of from warehouse.model_offsets as o where o.model = model_name
$$;

comment on function warehouse.current_as_of(text) is
'The instant for which a model was computed: as_of of the last build that moved its offset.';
