-- Row-level security of the bookkeeping tables that tenants read. Policies of marts follow the models'
-- declarations (warehouse.apply_access). The subquery in a condition asks once per query
-- instead of once per row.

alter table warehouse.tenants enable row level security;
drop policy if exists own_row on warehouse.tenants;
create policy own_row on warehouse.tenants for select using (role_name = current_user);
-- The API needs to know what its keys may ask for; it reads rows in their roles alone.
drop policy if exists api on warehouse.tenants;
create policy api on warehouse.tenants for select to warehouse_api using (true);

alter table warehouse.restatements enable row level security;
drop policy if exists analysts on warehouse.restatements;
create policy analysts on warehouse.restatements for select to warehouse_analyst using (true);
drop policy if exists tenants on warehouse.restatements;
create policy tenants on warehouse.restatements for select to warehouse_tenant using (
    client_id = (select warehouse.my_client()) and (select warehouse.sees_client())
);
-- Builds insert here but, unlike marts, do not own the table.
drop policy if exists builders on warehouse.restatements;
create policy builders on warehouse.restatements to warehouse_transformer using (true);
