-- Tables that the policies of marts look up. They have policies of their own (policies.sql).

-- A policy shows each role only its own row.
grant select (role_name, client_id, user_id) on warehouse.tenants to warehouse_tenant;

grant select (mart, client_id, period, old_values, new_values, cause, run, restated_at)
on warehouse.restatements to warehouse_tenant;

grant execute on function
    warehouse.last_as_of,
    warehouse.current_as_of,
    warehouse.my_client,
    warehouse.my_user,
    warehouse.sees_client
to warehouse_tenant;
