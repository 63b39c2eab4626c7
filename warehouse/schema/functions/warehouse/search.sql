-- The number of rows that name or mention the identifier, for every table that has any. The number is
-- NULL for a table of another owner that can't be read, or not without running the owner's code. Large
-- objects are counted as one table.
create or replace function warehouse.search(sought text, of_client text)
returns table ("table" text, "rows" bigint)
language plpgsql stable as $$
declare
    place record;
begin
    for place in
        select
            n.nspname || '.' || c.relname as name,
            c.oid::regclass as relation,
            warehouse.condition_of_holding(c.oid, of_client is not null) as condition,
            has_schema_privilege(n.oid, 'usage')
            and has_table_privilege(c.oid, 'select')
            and not row_security_active(c.oid)
            and warehouse.is_safe_to_touch(c.oid) as is_readable
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        where
            c.relkind in ('r', 'm')
            and n.nspname not in ('pg_catalog', 'information_schema')
            and n.nspname !~ '^pg_(toast|temp)'
        order by 1
    loop
        continue when place.condition is null;
        "table" := place.name;
        "rows" := null;
        if place.is_readable then
            execute format('select count(*) from only %s where %s', place.relation, place.condition)
            into "rows" using sought, of_client;
        end if;
        if "rows" is distinct from 0 then
            return next;
        end if;
    end loop;
    if of_client is null and exists (select 1 from pg_largeobject_metadata) then
        "table" := 'large objects';
        "rows" := null;
        if (select bool_and(pg_has_role(m.lomowner, 'usage')) from pg_largeobject_metadata as m) then
            select count(*) into "rows"
            from pg_largeobject_metadata as m
            where warehouse.line_holds(sought, lo_get(m.oid), 'not_an_object');
        end if;
        if "rows" is distinct from 0 then
            return next;
        end if;
    end if;
end
$$;
