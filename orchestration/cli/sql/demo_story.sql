-- What there is to see in the marts of the demo: a sentence each, and a command that shows more.
select
    story.sentence,
    story.command
from (
    select
        1 as place,
        format(
            '%s figures of closed periods, of %s clients, have changed since they were built',
            count(*),
            count(distinct r.client_id)
        ) as sentence,
        'warehouse query figures_restated_lately' as command
    from marts.restatements as r
    having count(*) > 0

    union all

    select
        2 as place,
        format(
            '%s users have reached a limit this month, %s have used 80 %% of it or more',
            count(*) filter (where u.notified_100_percent),
            count(*) filter (where u.notified_80_percent and not u.notified_100_percent)
        ) as sentence,
        'warehouse query users_near_their_limits' as command
    from marts.user_current_month as u
    having count(*) filter (where u.notified_80_percent) > 0

    union all

    select
        3 as place,
        format(
            '%s alerts are open, the newest: %s',
            count(*),
            (array_agg(a.title order by a.created_at desc))[1]
        ) as sentence,
        'warehouse alerts list' as command
    from marts.alert_history as a
    where not a.resolved
    having count(*) > 0

    union all

    (
        select
            4 as place,
            format(
                'producer %s lost %s %% on %s', l.producer, round(l.loss_percent, 1), l.date
            ) as sentence,
            'warehouse psql -- -c "select * from ingest_loss_daily where gaps > 0"' as command
        from marts.ingest_loss_daily as l
        where l.gaps > 0
        order by
            l.date > (select max(latest.date) from marts.ingest_loss_daily as latest) - 7 desc,
            l.loss_percent desc,
            l.date desc
        limit 1
    )

    union all

    (
        select
            5 as place,
            format(
                'of the %s clients of %s, %s %% are active a month later',
                c.cohort_size,
                c.cohort_month,
                round(c.retention_rate)
            ) as sentence,
            'warehouse query client_retention_triangle' as command
        from marts.cohort_retention as c
        where c.cohort_type = 'client' and c.month_number = 1 and c.is_complete
        order by c.cohort_month
        limit 1
    )
) as story
order by story.place
