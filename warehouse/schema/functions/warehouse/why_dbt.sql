-- Why a build of these models (NULL: all models) has to run dbt. NULL if the database can execute what
-- dbt has stored, because all of it was compiled from this code.
create or replace function warehouse.why_dbt(current_digest text, of_models text[]) returns text
language sql stable as $$
    with

    nodes as (
        select
            n.relation,
            n.node,
            n.code_digest is not distinct from current_digest
            and (m.model is null or m.code_digest is not distinct from current_digest)
            and (t.test is null or t.code_digest is not distinct from current_digest) as is_current
        from warehouse.compiled_nodes as n
        left join warehouse.stored_models as m on n.node = m.model
        left join warehouse.stored_tests as t on n.node = t.test
        where of_models is null or n.node = any(of_models) or t.models <@ of_models
    )

    select case
        when
            not exists (select 1 from nodes)
            or exists (
                select 1 from unnest(of_models) as asked (node)
                where asked.node not in (select n.node from nodes as n)
            )
            then 'not everything has been built yet'
        when exists (select 1 from nodes as n where not n.is_current)
            then 'the code has changed, or dbt did not succeed with it yet'
        when exists (select 1 from nodes as n where to_regclass(n.relation) is null and n.relation is not null)
            then (
                select min(n.relation) || ' is missing' from nodes as n
                where to_regclass(n.relation) is null
            )
        when exists (select 1 from warehouse.erased_rows)
            then 'an erasure has to reach the marts'
    end
$$;
