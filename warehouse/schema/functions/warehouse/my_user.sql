-- The user whose rows alone the current role sees, NULL if there is none (see warehouse.my_client).
create or replace function warehouse.my_user() returns text
language sql stable parallel safe begin atomic
    select t.user_id from warehouse.tenants as t
    where t.role_name = current_user;
end;

revoke all on function warehouse.my_user() from public;
