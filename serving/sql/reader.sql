-- As whom a key reads: its name, whether its role is an analyst's, a tenant's client and user, and
-- whether the API may take the role.
select
    k.name,
    pg_has_role(r.oid, 'warehouse_analyst', 'usage') as is_analyst,
    t.client_id,
    t.user_id,
    pg_has_role(r.oid, 'set') as may_be_taken
from warehouse.keys as k
inner join pg_roles as r on k.role_name = r.rolname
left join warehouse.tenants as t on k.role_name = t.role_name
where k.key_id = %(key_id)s and k.revoked_at is null
