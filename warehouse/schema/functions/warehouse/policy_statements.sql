-- The statements that change a table's row-level security to what the model declares; none if nothing
-- differs. Policies are compared by name only, so a policy with another condition needs another name.
create or replace function warehouse.policy_statements(relation regclass, access text) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with

    protected as (
        select
            relrowsecurity as is_protected,
            -- The subquery asks once per query instead of once per row.
            case when warehouse.is_distributed(relation) then 'warehouse.%s()' else '(select warehouse.%s())' end
                as asked
        from pg_class
        where oid = relation
    ),

    wanted (name, role, condition) as (
        select 'analysts', 'warehouse_analyst', 'true'
        from protected
        where
            access in ('client', 'client_and_user', 'user')
            -- The table was for tenants before and still has row-level security.
            or (access = 'analysts' and is_protected)
        union all
        select
            'tenant_' || access,
            'warehouse_tenant',
            case access
                when 'client'
                    then
                        'client_id = ' || format(asked, 'my_client')
                        || ' and ' || format(asked, 'sees_client')
                when 'client_and_user'
                    then
                        'client_id = ' || format(asked, 'my_client')
                        || ' and (' || format(asked, 'sees_client')
                        || ' or user_id = ' || format(asked, 'my_user') || ')'
                when 'user'
                    then 'user_id = ' || format(asked, 'my_user')
            end
        from protected
        where access in ('client', 'client_and_user', 'user')
    ),

    existing as (
        select polname::text as name from pg_policy where polrelid = relation
    )

    select format('alter table %s enable row level security', relation)
    from protected
    where not is_protected and access in ('client', 'client_and_user', 'user')
    union all
    select format('drop policy %I on %s', e.name, relation)
    from existing as e
    where
        (e.name = 'analysts' or e.name like 'tenant\_%')
        and e.name not in (select w.name from wanted as w)
    union all
    select format(
        'create policy %I on %s for select to %I using (%s)',
        w.name, relation, w.role, w.condition
    )
    from wanted as w
    where w.name not in (select e.name from existing as e)
$$;
