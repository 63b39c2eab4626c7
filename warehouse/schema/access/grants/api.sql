-- What the HTTP API itself reads and writes: keys, whose role they stand for, and what people do about
-- alerts. It reads marts in the roles of keys.

grant usage on schema warehouse to warehouse_api;

grant select on warehouse.keys to warehouse_api;

-- A policy shows it all rows.
grant select (role_name, client_id, user_id) on warehouse.tenants to warehouse_api;

grant insert (alert_id, action, taken_by) on warehouse.alert_actions to warehouse_api;
