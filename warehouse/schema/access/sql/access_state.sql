-- A digest of the existing grants and policies. Objects of other owners are ignored.
select coalesce(md5(string_agg(state::text, ' ' order by state::text)), '')
from (
    select (kind, object, column_name, role, privilege)
    from warehouse.granted
    where schema_name in ('staging', 'warehouse', 'export') and pg_has_role(owner_id, 'usage')
    union all
    select (c.relname, c.relrowsecurity, p.polname, p.polroles, p.polqual, p.polcmd)
    from pg_class as c
    left join pg_policy as p on c.oid = p.polrelid
    where c.relnamespace = 'warehouse'::regnamespace and (c.relrowsecurity or p.oid is not null)
) as found (state)
