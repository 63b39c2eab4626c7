with

touched as (
    select
        min(date) as first_on,
        max(date) as last_on
    from {{ touched_table() }}
),

spells as (
    select spells.*
    from {{ ref('int_subscription_spells') }} as spells
    cross join touched
    where
        spells.started_on <= touched.last_on
        and (spells.ended_on is null or spells.ended_on > touched.first_on)
),

-- Periods in which no subscription of a client begins or ends.
client_spans as (
    select
        client_id,
        date as since,
        lead(date) over (partition by client_id order by date) as until
    from (
        select
            spells.client_id,
            greatest(spells.started_on, touched.first_on) as date
        from spells
        cross join touched
        union
        select
            client_id,
            ended_on
        from spells
        where ended_on is not null
    ) as changes
),

client_plans as (
    select
        client_spans.client_id,
        client_spans.since,
        client_spans.until,
        spells.plan,
        count(*) as active_subscriptions,
        sum(spells.mrr_cents) as mrr_cents
    from client_spans
    inner join
        spells
        on
            client_spans.client_id = spells.client_id
            and client_spans.since >= spells.started_on
            and (spells.ended_on is null or client_spans.since < spells.ended_on)
    group by client_spans.client_id, client_spans.since, client_spans.until, spells.plan
),

ranked as (
    select
        *,
        row_number() over (
            partition by client_id, since
            order by mrr_cents desc, active_subscriptions desc, plan collate "C" asc
        ) as place
    from client_plans
),

named as (
    select
        since,
        until,
        case when place <= {{ var('plans_by_name') }} then plan else 'other' end as plan,
        active_subscriptions,
        mrr_cents
    from ranked
),

-- By how much a plan's figures change at a day's end.
changes as (
    select
        plan,
        date,
        sum(subscriptions) as subscriptions,
        sum(cents) as cents
    from (
        select
            plan,
            since as date,
            active_subscriptions as subscriptions,
            mrr_cents as cents
        from named
        union all
        select
            plan,
            until,
            -active_subscriptions as subscriptions,
            -mrr_cents as cents
        from named
        where until is not null
    ) as ends
    group by plan, date
),

plan_spans as (
    select
        plan,
        date as since,
        lead(date) over (partition by plan order by date) as until,
        sum(subscriptions) over (partition by plan order by date) as active_subscriptions,
        sum(cents) over (partition by plan order by date) as mrr_cents
    from changes
),

days as (
    select
        days.date::date as date,
        plan_spans.plan,
        plan_spans.active_subscriptions::bigint as active_subscriptions,
        {{ to_bigint('plan_spans.mrr_cents') }} as mrr_cents,
        now() as updated_at
    from plan_spans
    cross join touched
    cross join
        lateral generate_series(
            plan_spans.since::timestamp,
            least(plan_spans.until - 1, touched.last_on)::timestamp,
            interval '1 day'
        ) as days (date)
    where
        plan_spans.active_subscriptions > 0
        and days.date::date in (select date from {{ touched_table() }})
)

select * from days
