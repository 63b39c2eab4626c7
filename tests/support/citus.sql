-- Stands in for Citus on one server: what the project calls of it, with the rules of its tables. Each call
-- is recorded in citus.calls. Run as a superuser, with allow_system_table_mods on.

create schema citus;

create table citus.calls (
    place bigint generated always as identity primary key,
    call text not null
);

-- What each node answers to its number of prepared transactions.
create table citus.answers (prepared_transactions text not null);
insert into citus.answers values ('100');

create table pg_catalog.pg_dist_node (
    nodeid integer primary key,
    groupid integer not null,
    nodename text not null,
    nodeport integer not null,
    noderole text not null default 'primary',
    isactive boolean not null default true,
    shouldhaveshards boolean not null
);
insert into pg_catalog.pg_dist_node (nodeid, groupid, nodename, nodeport, shouldhaveshards) values
(1, 0, 'coordinator', 5432, false),
(2, 1, 'worker-1', 5432, true),
(3, 2, 'worker-2', 5432, true);

create table pg_catalog.pg_dist_partition (
    logicalrelid regclass primary key,
    partmethod "char" not null,
    colocationid integer not null
);
grant select on pg_catalog.pg_dist_node, pg_catalog.pg_dist_partition to public;

-- As Citus does, it forgets tables that are dropped.
create function citus.forget_dropped_tables() returns event_trigger
language plpgsql security definer as $$
begin
    delete from pg_catalog.pg_dist_partition as p
    using pg_event_trigger_dropped_objects() as d
    where d.classid = 'pg_class'::regclass and d.objid = p.logicalrelid;
end
$$;
create event trigger citus_forget_dropped_tables on sql_drop
execute function citus.forget_dropped_tables();

create function citus.refuse_subqueries_in_policies(relation regclass) returns void
language plpgsql as $$
begin
    if exists (
        select 1 from pg_policy as p
        where
            p.polrelid = relation
            and pg_get_expr(p.polqual, p.polrelid) ~* '\mselect\M'
    ) then
        raise exception 'cannot create policy' using
            detail = 'Subqueries are not supported in policies on distributed tables';
    end if;
end
$$;

create function citus.check_policies() returns event_trigger
language plpgsql security definer as $$
declare
    command record;
begin
    for command in select * from pg_event_trigger_ddl_commands() loop
        if command.classid = 'pg_policy'::regclass then
            perform citus.refuse_subqueries_in_policies(p.polrelid)
            from pg_policy as p
            inner join pg_catalog.pg_dist_partition as d on p.polrelid = d.logicalrelid
            where p.oid = command.objid;
        end if;
    end loop;
end
$$;
create event trigger citus_check_policies on ddl_command_end
when tag in ('CREATE POLICY') execute function citus.check_policies();

create function citus.check_unique_indexes() returns event_trigger
language plpgsql security definer as $$
declare
    of_one record;
begin
    select i.indexrelid::regclass as name into of_one
    from pg_index as i
    inner join pg_catalog.pg_dist_partition as d on i.indrelid = d.logicalrelid and d.partmethod = 'h'
    inner join pg_attribute as a on i.indrelid = a.attrelid and a.attname = 'client_id'
    where i.indisunique and not a.attnum = any(i.indkey);
    if found then
        raise exception 'cannot create constraint on the distributed table: % lacks client_id', of_one.name;
    end if;
end
$$;
create event trigger citus_check_unique_indexes on ddl_command_end
when tag in ('ALTER TABLE', 'CREATE INDEX') execute function citus.check_unique_indexes();

create function pg_catalog.create_reference_table(table_name regclass) returns void
language plpgsql security definer as $$
begin
    perform citus.refuse_subqueries_in_policies(table_name);
    insert into citus.calls (call) values (format('create_reference_table %s', table_name));
    insert into pg_catalog.pg_dist_partition values (table_name, 'n', 2);
end
$$;

create function pg_catalog.create_distributed_table(
    table_name regclass,
    distribution_column text,
    distribution_type text default 'hash',
    colocate_with text default 'default',
    shard_count integer default null
) returns void
language plpgsql security definer as $$
declare
    has_rows boolean;
begin
    if not exists (
        select 1 from pg_attribute as a
        where
            a.attrelid = table_name
            and a.attname = distribution_column
            and a.atttypid = 'text'::regtype
            and a.attnotnull
    ) then
        raise exception '% has no text column % that is never null', table_name, distribution_column;
    end if;
    execute format('select exists (select 1 from %s)', table_name) into has_rows;
    if has_rows then
        raise exception '% is distributed when it has rows already', table_name;
    end if;
    perform citus.refuse_subqueries_in_policies(table_name);
    insert into citus.calls (call) values (
        format('create_distributed_table %s %s %s', table_name, distribution_column, colocate_with)
    );
    insert into pg_catalog.pg_dist_partition values (table_name, 'h', 1);
end
$$;

-- All nodes are this server.
create function pg_catalog.run_command_on_all_nodes(command text)
returns table (nodeid integer, success boolean, result text)
language plpgsql as $$
begin
    insert into citus.calls (call) values (command);
    if command ilike '%max_prepared_transactions%' then
        select a.prepared_transactions into result from citus.answers as a;
    else
        execute command;
    end if;
    return query
    select n.nodeid, true, result from pg_catalog.pg_dist_node as n order by n.nodeid;
end
$$;
