-- The checks must have seen the row of the latest build, not that of an earlier one.
select
    o.as_of,
    o.batch_seq,
    (
        select max(c.checked_at)
        from warehouse.check_results as c
        where
            c.source = 'great_expectations'
            and c.model = 'intermediate.int_platform_stats'
            and c.as_of = o.as_of
            and c.batch_seq = o.batch_seq
    ) as checked_at,
    latest.invocation_id,
    latest.state,
    latest.started_at
from warehouse.model_offsets as o
left join lateral (
    select b.invocation_id, b.state, b.started_at
    from warehouse.builds as b
    where
        b.started_at <= o.moved_at
        and (b.models is null or 'int_platform_stats' = any(b.models))
    order by b.started_at desc
    limit 1
) as latest on true
where o.model = 'int_platform_stats'
