-- First column: the builders' role is set up and this session may switch to it. Second column: if
-- this login may become the warehouse's owner, a login that may build but not become the owner.
select
    pg_has_role(builder.oid, 'set') and exists (
        select 1 from pg_namespace
        where nspname = 'marts' and nspowner = builder.oid
    ) as may_build,
    (
        select min(other.rolname)
        from pg_namespace as warehouse
        inner join pg_roles as other
            on
                other.rolcanlogin
                and other.rolname <> session_user
                -- On a cluster the role itself can sign in, as nodes do among each other.
                and other.oid <> builder.oid
                and pg_has_role(other.oid, builder.oid, 'member')
                and not pg_has_role(other.oid, warehouse.nspowner, 'member')
        where
            warehouse.nspname = 'warehouse'
            and pg_has_role(session_user, warehouse.nspowner, 'member')
    ) as other_builder
from pg_roles as builder
where builder.rolname = 'warehouse_transformer'
