-- For each login the limits of its first group that are set neither for this database nor for all.
-- Logins that belong to a group with wider permissions are left out.
select distinct on (r.oid, l.name)
    r.rolname,
    case when l.name <> 'connection limit' then current_database() end,
    l.name,
    l.value
from jsonb_to_recordset(%(limits)s) as l (place integer, role name, name text, value text)
inner join pg_roles as g on l.role = g.rolname
inner join pg_roles as r
    on
        r.rolcanlogin
        and not r.rolsuper
        -- On a cluster the groups themselves can sign in, as nodes do among each other.
        and r.oid <> g.oid
        and pg_has_role(r.oid, g.oid, 'usage')
where
    not exists (
        select 1 from pg_roles as more
        where
            more.rolname = any(array['warehouse_loader', 'warehouse_transformer', session_user])
            and pg_has_role(r.oid, more.oid, 'member')
    )
    and case l.name
        when 'connection limit' then r.rolconnlimit = -1
        else not exists (
            select 1 from pg_db_role_setting as s
            cross join lateral unnest(s.setconfig) as c (setting)
            where
                s.setrole = r.oid
                and s.setdatabase in (
                    0, (
                        select oid from pg_database
                        where datname = current_database()
                    )
                )
                and c.setting like l.name || '=%%'
        )
    end
order by r.oid, l.name, l.place
