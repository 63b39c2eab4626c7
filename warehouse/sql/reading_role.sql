-- Whether a role reads as a tenant or analyst does, whether it may do more, and whether it is a
-- tenant that no client is mapped to.
select
    pg_has_role(r.oid, 'warehouse_analyst', 'usage')
    or pg_has_role(r.oid, 'warehouse_tenant', 'usage') as is_reader,
    r.rolsuper
    or r.rolbypassrls
    or r.rolcreaterole
    or pg_has_role(r.oid, 'warehouse_loader', 'usage')
    or pg_has_role(r.oid, 'warehouse_transformer', 'usage') as does_more,
    not pg_has_role(r.oid, 'warehouse_analyst', 'usage') and not exists (
        select 1 from warehouse.tenants as t
        where t.role_name = r.rolname
    ) as is_unmapped
from pg_roles as r
where r.rolname = %(role)s
