-- Comments on relations, columns and functions as they are described; changes only what differs.
-- `described` is a list of objects with schema_name, name, description, is_function and, for a
-- relation, an object `columns` of descriptions by name. What does not exist is left out.
create or replace function warehouse.follow_descriptions(described jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one_statement text;
begin
    for one_statement in
        with

        described_objects as (
            select
                n.oid as schema_id,
                n.nspname as schema_name,
                d.name,
                d.description,
                d.is_function,
                d.columns
            from jsonb_to_recordset(described)
                as d (schema_name text, name text, description text, is_function boolean, columns jsonb)
            inner join pg_namespace as n on d.schema_name = n.nspname
        ),

        relations as (
            select
                d.*,
                c.oid,
                case c.relkind when 'v' then 'view' else 'table' end as kind
            from described_objects as d
            inner join pg_class as c
                on d.name = c.relname and d.schema_id = c.relnamespace and c.relkind in ('r', 'p', 'v')
            where not d.is_function
        )

        select format('comment on %s %I.%I is %L', kind, schema_name, name, description)
        from relations
        where obj_description(oid, 'pg_class') is distinct from description
        union all
        select format('comment on column %I.%I.%I is %L', r.schema_name, r.name, a.attname, c.description)
        from relations as r
        cross join lateral jsonb_each_text(r.columns) as c (name, description)
        inner join pg_attribute as a
            on r.oid = a.attrelid and c.name = a.attname and a.attnum > 0 and not a.attisdropped
        where col_description(r.oid, a.attnum) is distinct from c.description
        union all
        select format('comment on function %s is %L', p.oid::regprocedure, d.description)
        from described_objects as d
        inner join pg_proc as p on d.name = p.proname and d.schema_id = p.pronamespace
        where d.is_function and obj_description(p.oid, 'pg_proc') is distinct from d.description
    loop
        execute one_statement;
    end loop;
end
$$;
