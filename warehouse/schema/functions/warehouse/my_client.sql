-- The client whose rows the current role, a tenant's, sees: policies ask this. Workers of a cluster do
-- not accept a subquery in a policy, but a function. Its body is parsed when it is created, because
-- tenants may not use the schema by name.
create or replace function warehouse.my_client() returns text
language sql stable parallel safe begin atomic
    select t.client_id from warehouse.tenants as t
    where t.role_name = current_user;
end;

revoke all on function warehouse.my_client() from public;
