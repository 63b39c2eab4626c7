-- Reads the offsets as their owner: who may read a view need not see how builds stand.
create or replace function warehouse.current_as_of(model_name text) returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select o.as_of from warehouse.model_offsets as o where o.model = model_name
$$;

comment on function warehouse.current_as_of(text) is
'The instant that a model looks from: as_of of the last build that moved it.';
