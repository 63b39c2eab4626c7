with

relations as (
    select c.oid, n.nspname, c.relname
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where
        n.nspname in ('staging', 'intermediate', 'marts', 'export', 'warehouse')
        and c.relkind in ('r', 'p', 'v', 'm')
        and pg_has_role(c.relowner, 'usage')
)

select relname from relations
union
select nspname || '.' || relname from relations
union
select a.attname
from pg_attribute as a
inner join relations as r on a.attrelid = r.oid
where a.attnum > 0
union
select p.proname
from pg_proc as p
inner join pg_namespace as n on p.pronamespace = n.oid
where n.nspname in ('marts', 'staging', 'warehouse')
union
select check_name from warehouse.check_results
union
select job from warehouse.run_events
where event <> 'file_quarantined'
