-- Locks a model until the end of the transaction: other transactions can't write it meanwhile.
create or replace function warehouse.lock_model(model_name text) returns void
language plpgsql as $$
begin
    insert into warehouse.lock_models (model) values (model_name) on conflict do nothing;
    perform 1 from warehouse.lock_models as m where m.model = model_name for update;
end
$$;
