-- The grant and revoke statements that make the grants in these schemas equal to the wanted ones.
-- Grants of roles other than the warehouse's are ignored.
create or replace function warehouse.grant_differences(schemas text [], wanted jsonb) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with

    wanted_grants as (
        select distinct o.kind, o.object, w.column_name, w.role, w.privilege
        from jsonb_to_recordset(wanted) as w (
            kind text, schema_name text, name text, column_name text, role text, privilege text
        )
        inner join warehouse.objects as o
            on
                w.kind = o.kind
                and w.schema_name = o.schema_name
                and w.name = o.name
                and o.column_name is null
        inner join pg_roles as r on w.role = r.rolname and r.oid <> o.owner_id
    ),

    existing as (
        select kind, object, column_name, role, privilege
        from warehouse.granted
        where
            schema_name = any(schemas)
            -- Objects of other owners in the schemas of dbt are ignored.
            and (schema_name not in ('intermediate', 'marts') or pg_has_role(owner_id, 'usage'))
    ),

    surplus as (
        select * from existing
        except
        select * from wanted_grants
    ),

    missing as (
        select * from wanted_grants
        except
        select * from existing
        union
        -- Revoking a privilege on a table revokes it on its columns as well.
        select w.*
        from wanted_grants as w
        inner join surplus as s
            on
                w.kind = s.kind and w.object = s.object and w.role = s.role
                and w.privilege = s.privilege and s.column_name is null
    ),

    changes as (
        select 1 as place, 'revoke' as verb, 'from' as preposition, * from surplus
        union all
        select 2, 'grant', 'to', * from missing
    )

    select format(
        '%s %s%s on %s %s %s %I',
        verb,
        privilege,
        ' (' || string_agg(quote_ident(column_name), ', ' order by column_name) || ')',
        kind,
        object,
        preposition,
        role
    )
    from changes
    group by place, verb, preposition, privilege, kind, object, role, column_name is null
    order by place, column_name is null desc, object, role, privilege
$$;
