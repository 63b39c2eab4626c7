select yesterday.* from (
    -- Yesterday, and the median of the same weekday in the eight weeks before. Weeks before the
    -- first batch do not count. Without the warehouse's own events, whose number says nothing about
    -- what producers send.
    with days as (
        select (now() at time zone 'utc')::date - 1 - 7 * w.week as day, w.week
        from generate_series(0, 8) as w (week)
    ),

    landed as (
        select d.day, d.week, coalesce(sum(b.accepted), 0) as landed
        from days as d
        left join staging.event_batches as b
            on
                b.kind = 'events'
                and b.source <> 'warehouse'
                and (b.received_at at time zone 'utc')::date = d.day
        group by d.day, d.week
    ),

    usual as (
        select count(*) as weeks, percentile_cont(0.5) within group (order by l.landed) as usual
        from landed as l
        where l.week > 0 and l.day >= (
            select min((b.received_at at time zone 'utc')::date) from staging.event_batches as b
            where b.kind = 'events' and b.source <> 'warehouse'
        )
    )

    select l.day, l.landed, u.weeks, u.usual
    from landed as l
    cross join usual as u
    where l.week = 0
) as yesterday
