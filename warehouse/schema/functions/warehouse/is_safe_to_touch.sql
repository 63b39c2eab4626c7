-- Whether the owner may read a table, and delete rows of it, without running code of whose it is.
--
-- A view runs functions of its maker's in the session that reads it, and so does a trigger, a rule or a
-- type with casts of its own. Functions in expressions of indexes and statistics run when a query on
-- the table is planned. Code that runs in the owner's session is the owner: `set role` and
-- `security definer` do not hold it. PostgreSQL has functions of its own that run the SQL that they
-- are given, such as ts_rewrite and query_to_xml; those that are immutable run none.
--
-- So the table is locked until the transaction ends, against whatever changes its definition but not
-- against readers and writers, and must be a plain one then. Of builders' tables this raises an
-- exception otherwise. Others' tables are not safe either where they can't be locked. Tables of the
-- owner, and of whoever may become the owner, always are.
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
    -- What was planted after the snapshot of another level would not be seen.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'tables of others are touched in transactions that are read committed alone';
    end if;

    if kind = 'r' and has_table_privilege(relation, 'update, delete, truncate') then
        execute format('lock table only %s in share update exclusive mode', qualified_name);
        if to_regclass(qualified_name) is distinct from relation then
            raise exception '% is another table than a moment ago', qualified_name
            using hint = 'Run the same command again.';
        end if;
    elsif not is_builders then
        return false;
    end if;

    select found_code into foreign_code
    from (
        select 'is no plain table' as found_code
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
        -- Policies hold nothing back from whoever may be the table's owner.
        select 'shows a part of its rows'
        from pg_class as c
        inner join pg_namespace as o on o.nspname = 'warehouse'
        where
            c.oid = relation
            and c.relrowsecurity
            and (c.relforcerowsecurity or not pg_has_role(o.nspowner, c.relowner, 'usage'))
        union all
        select 'inherits, or is inherited from'
        from pg_inherits as i
        where relation in (i.inhrelid, i.inhparent)
        union all
        select format('has the trigger %I', t.tgname)
        from pg_trigger as t
        where t.tgrelid = relation
        union all
        select format('has the rule %I', r.rulename)
        from pg_rewrite as r
        where r.ev_class = relation
        union all
        -- What is PostgreSQL's own is no dependency, or has a lower number.
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
        raise exception '% %: code of who builds would run as the owner', qualified_name, foreign_code
        using hint = format(
            'Take that away as a builder, or drop the table and build with --full-refresh --select %s.',
            split_part(qualified_name, '.', 2)
        );
    end if;
    return false;
end
$$;
