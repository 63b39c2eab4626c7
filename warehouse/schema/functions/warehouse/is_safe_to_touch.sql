-- Whether the warehouse's owner can read a table and delete rows from it without running code of the
-- table's owner.
--
-- A view runs its creator's functions in the session that reads it; so do triggers, rules and types
-- with their own casts. Functions in index and statistics expressions run when a query on the table is
-- planned. Code in the owner's session has all permissions of the owner: `set role` and
-- `security definer` do not confine it. Some functions of PostgreSQL run the SQL that they are given,
-- for example ts_rewrite and query_to_xml; immutable ones run none.
--
-- So this locks the table until the transaction ends, which blocks changes of its definition but no
-- readers and writers, and then requires a plain table. If a builders' table is not plain, it raises
-- an exception. Another owner's table that is not plain or can't be locked is not safe (false). Tables
-- of the warehouse's owner, and of roles that may become the owner, are always safe.
create or replace function warehouse.is_safe_to_touch(relation regclass) returns boolean
language plpgsql strict set search_path = pg_catalog, pg_temp as $$
declare
    qualified_name text;
    is_builders boolean;
    kind "char";
    foreign_code text;
begin
    select
        format('%I.%I', n.nspname, c.relname),
        c.relkind,
        n.nspname in ('intermediate', 'marts')
    into qualified_name, kind, is_builders
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where
        c.oid = relation
        and not pg_has_role(
            c.relowner, (select o.nspowner from pg_namespace as o where o.nspname = 'warehouse'), 'member'
        );
    if not found then
        return true;
    end if;
    -- With another isolation level, code added after the snapshot would not be seen.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'tables of other owners may only be read in transactions with isolation level read committed';
    end if;

    if kind = 'r' and has_table_privilege(relation, 'update, delete, truncate') then
        execute format('lock table only %s in share update exclusive mode', qualified_name);
        if to_regclass(qualified_name) is distinct from relation then
            raise exception '% was replaced by another table meanwhile', qualified_name
            using hint = 'Run the same command again.';
        end if;
    elsif not is_builders then
        return false;
    end if;

    select found_code into foreign_code
    from (
        select 'is not a plain table' as found_code
        from pg_class as c
        where c.oid = relation and (c.relkind <> 'r' or c.relispartition or c.reloftype <> 0)
        union all
        select format('belongs to %I', pg_get_userbyid(c.relowner))
        from pg_class as c
        where
            c.oid = relation
            and is_builders
            and pg_get_userbyid(c.relowner) <> 'warehouse_transformer'
        union all
        -- Policies do not apply to roles that may act as the table's owner.
        select 'hides rows by row-level security'
        from pg_class as c
        inner join pg_namespace as o on o.nspname = 'warehouse'
        where
            c.oid = relation
            and c.relrowsecurity
            and (c.relforcerowsecurity or not pg_has_role(o.nspowner, c.relowner, 'usage'))
        union all
        select 'has a parent or child table'
        from pg_inherits as i
        where relation in (i.inhrelid, i.inhparent)
        union all
        select format('has the trigger %I', t.tgname)
        from pg_trigger as t
        -- Citus puts its own on the tables of a cluster.
        where t.tgrelid = relation and t.tgfoid is distinct from to_regproc('pg_catalog.citus_truncate_trigger')
        union all
        select format('has the rule %I', r.rulename)
        from pg_rewrite as r
        where r.ev_class = relation
        union all
        -- PostgreSQL's own objects have no dependency entry, or a lower oid.
        select format(
            'uses %s in %s',
            pg_describe_object(d.refclassid, d.refobjid, 0),
            pg_describe_object(d.classid, d.objid, d.objsubid)
        )
        from (
            select 'pg_class'::regclass as classid, relation::oid as objid
            union all
            select 'pg_class'::regclass, i.indexrelid from pg_index as i where i.indrelid = relation
            union all
            select 'pg_attrdef'::regclass, a.oid from pg_attrdef as a where a.adrelid = relation
            union all
            select 'pg_constraint'::regclass, c.oid from pg_constraint as c where c.conrelid = relation
            union all
            select 'pg_statistic_ext'::regclass, s.oid from pg_statistic_ext as s where s.stxrelid = relation
            union all
            select 'pg_policy'::regclass, p.oid from pg_policy as p where p.polrelid = relation
        ) as part
        inner join pg_depend as d on part.classid = d.classid and part.objid = d.objid
        where
            d.refclassid in (
                'pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass,
                'pg_opclass'::regclass, 'pg_opfamily'::regclass, 'pg_am'::regclass
            )
            and d.refobjid >= 16384
            -- What the warehouse's own policies ask.
            and not (
                part.classid = 'pg_policy'::regclass
                and d.refclassid = 'pg_proc'::regclass
                and d.refobjid in (
                    'warehouse.my_client()'::regprocedure,
                    'warehouse.my_user()'::regprocedure,
                    'warehouse.sees_client()'::regprocedure
                )
            )
        union all
        select format('calls %s, which may run SQL', p.oid::regprocedure)
        from (
            select a.adbin::text as expression from pg_attrdef as a where a.adrelid = relation
            union all
            select c.conbin::text from pg_constraint as c where c.conrelid = relation
            union all
            select i.indexprs::text from pg_index as i where i.indrelid = relation
            union all
            select i.indpred::text from pg_index as i where i.indrelid = relation
            union all
            select s.stxexprs::text from pg_statistic_ext as s where s.stxrelid = relation
        ) as expressions
        cross join lateral regexp_matches(
            expression, ':(funcid|opfuncid|hashfuncid|negfuncid|opno) (\d+)', 'g'
        ) as named (part)
        left join pg_operator as o on named.part[1] = 'opno' and o.oid = named.part[2]::oid
        inner join pg_proc as p
            on p.oid = case named.part[1] when 'opno' then o.oprcode::oid else named.part[2]::oid end
        where p.provolatile <> 'i'
    ) as found_codes
    order by found_code
    limit 1;
    if foreign_code is null then
        return true;
    end if;
    if is_builders then
        raise exception '% %: code of builders would run as the owner', qualified_name, foreign_code
        using hint = format(
            'Remove that as a builder, or drop the table and build with --full-refresh --select %s.',
            split_part(qualified_name, '.', 2)
        );
    end if;
    return false;
end
$$;
