-- The roles that sessions switch to and that have no login yet. Nodes of a cluster sign in to each other as
-- the role that reads.
select r.rolname
from pg_roles as r
where
    not r.rolcanlogin
    and (
        r.rolname = any(%(roles)s)
        or exists (
            select 1 from warehouse.tenants as t
            where t.role_name = r.rolname
        )
    )
order by r.rolname
