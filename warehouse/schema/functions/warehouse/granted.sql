create or replace view warehouse.granted as
select
    o.kind,
    o.schema_name,
    o.name,
    o.object,
    o.column_name,
    o.owner_id,
    coalesce(r.rolname::text, 'public') as role,
    lower(a.privilege_type) as privilege
from warehouse.objects as o
cross join lateral aclexplode(o.acl) as a
left join pg_catalog.pg_roles as r on a.grantee = r.oid
where
    a.grantee <> o.owner_id
    and (
        a.grantee = 0
        or r.rolname in (
            'warehouse_loader', 'warehouse_transformer', 'warehouse_analyst', 'warehouse_tenant',
            'warehouse_marketing', 'warehouse_api'
        )
    )
    -- Everybody may use schema public; that is harmless.
    and not (o.schema_name = 'public' and a.privilege_type = 'USAGE');

comment on view warehouse.granted is
'The grants of the group roles and of public, without those of owners on their own objects.';
