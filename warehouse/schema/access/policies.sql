-- Row-level security of the bookkeeping that tenants read. Marts get theirs as their models declare
-- (warehouse.apply_access). Each policy asks once per query, not per row, whose rows these are: that
-- is what `select` is for.

alter table warehouse.tenants enable row level security;
drop policy if exists own_row on warehouse.tenants;
create policy own_row on warehouse.tenants for select using (role_name = current_user);

alter table warehouse.restatements enable row level security;
drop policy if exists analysts on warehouse.restatements;
create policy analysts on warehouse.restatements for select to warehouse_analyst using (true);
drop policy if exists tenants on warehouse.restatements;
create policy tenants on warehouse.restatements for select to warehouse_tenant using (
    client_id = (select t.client_id from warehouse.tenants as t where t.role_name = current_user)
    and (select t.user_id is null from warehouse.tenants as t where t.role_name = current_user)
);
-- Builds insert, but do not own this table as they own the marts.
drop policy if exists builders on warehouse.restatements;
create policy builders on warehouse.restatements to warehouse_transformer using (true);
