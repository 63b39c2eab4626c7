-- The statements that make the rights in these schemas equal to the wanted ones, if any.
-- Rights of other roles than the warehouse's are nobody's business here.
create or replace function warehouse.differences(schemas text [], wanted jsonb) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with

    wanted_rights as (
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
            -- What others keep where dbt builds is theirs.
            and (schema_name not in ('intermediate', 'marts') or pg_has_role(owner_id, 'usage'))
    ),

    surplus as (
        select * from existing
        except
        select * from wanted_rights
    ),

    missing as (
        select * from wanted_rights
        except
        select * from existing
        union
        -- Revoking a right on a table takes that on its columns along.
        select w.*
        from wanted_rights as w
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
