-- The statements that hold a table's rows back from tenants; none where they are held back so.
-- What a policy says is told by its name: one that should say something else gets another.
create or replace function warehouse.protection(relation regclass, access text) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with

    protected as (
        select
            relrowsecurity as is_protected,
            '(select %s from warehouse.tenants as t where t.role_name = current_user)' as mapped
        from pg_class
        where oid = relation
    ),

    -- Each asks once per query, not per row, whose rows these are: that is what `select` is for.
    wanted (name, role, condition) as (
        select 'analysts', 'warehouse_analyst', 'true'
        from protected
        where
            access in ('client', 'client_and_user', 'user')
            -- Once it was for tenants.
            or (access = 'analysts' and is_protected)
        union all
        select
            'tenant_' || access,
            'warehouse_tenant',
            case access
                when 'client'
                    then
                        'client_id = ' || format(mapped, 't.client_id')
                        || ' and ' || format(mapped, 't.user_id is null')
                when 'client_and_user'
                    then
                        'client_id = ' || format(mapped, 't.client_id')
                        || ' and (' || format(mapped, 't.user_id is null')
                        || ' or user_id = ' || format(mapped, 't.user_id') || ')'
                when 'user'
                    then 'user_id = ' || format(mapped, 't.user_id')
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
