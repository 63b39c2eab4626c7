-- Whether the current role sees all rows of its client, not those of one user alone; NULL for a role that
-- is no tenant's (see warehouse.my_client).
create or replace function warehouse.sees_client() returns boolean
language sql stable parallel safe begin atomic
    select t.user_id is null from warehouse.tenants as t
    where t.role_name = current_user;
end;

revoke all on function warehouse.sees_client() from public;
