with

client_days as (
    select * from {{ client_counts() }}
    where {{ in_touched_cells(['date']) }}
),

activity as (
    select
        date,
        sum(new_leads) as total_leads,
        sum(inbound_messages + outbound_messages) as total_messages,
        sum(ai_responses) as total_ai_responses,
        sum(escalations) as total_escalations,
        sum(api_cost_cents) as total_api_costs_cents,
        sum(ratings_total) as ratings_total,
        sum(reviews_received) as reviews_received
    from {{ ref('int_client_activity_daily') }}
    where {{ in_touched_cells(['date']) }}
    group by date
),

all_spells as (
    select * from {{ ref('int_subscription_spells') }}
    where mrr_cents > 0
),

-- One that ended before the first touched day adds nothing to that day or a later one.
spells as (
    select * from all_spells
    where ended_on is null or ended_on >= (select min(date) from {{ touched_table() }})
),

first_revenues as (
    select
        client_id,
        min(started_on) as date
    from all_spells
    group by client_id
),

-- By how much a client's MRR changes at a day's end: only the ends of spells are read, because a
-- client may have many of them, over many days.
changes as (
    select
        client_id,
        date,
        sum(change) as change
    from (
        select
            client_id,
            started_on as date,
            mrr_cents as change
        from spells
        union all
        select
            client_id,
            ended_on as date,
            -mrr_cents as change
        from spells
        where ended_on is not null
    ) as ends
    group by client_id, date
),

-- Each client's MRR at the end of the day of a change, and before it, from the first touched day
-- on: the days before lack what had ended.
client_revenues as (
    select
        changes.client_id,
        changes.date,
        sum(changes.change) over until_the_days_end as today,
        sum(changes.change) over until_the_days_end - changes.change as yesterday,
        changes.date = first_revenues.date as is_first
    from changes
    inner join first_revenues on changes.client_id = first_revenues.client_id
    window until_the_days_end as (partition by changes.client_id order by changes.date)
),

movements as (
    select
        date,
        sum(today) filter (where is_first) as new_mrr_cents,
        sum(today) filter (where yesterday = 0 and not is_first) as reactivation_mrr_cents,
        sum(today - yesterday) filter (
            where yesterday > 0 and today > yesterday
        ) as expansion_mrr_cents,
        sum(yesterday - today) filter (
            where today > 0 and today < yesterday
        ) as contraction_mrr_cents,
        sum(yesterday) filter (where today = 0) as churned_mrr_cents
    from client_revenues
    group by date
),

revenues as (
    select
        date,
        sum(sum(change)) over (order by date) as mrr_cents
    from (
        select
            date,
            change
        from changes
        union all
        select
            date,
            0 as change
        from client_days
    ) as steps
    group by date
),

days as (
    select
        client_days.date,

        client_days.total_clients,
        client_days.active_clients,
        client_days.new_clients,
        client_days.churned_clients,

        {{ to_bigint('revenues.mrr_cents') }} as mrr_cents,
        {{ to_bigint('coalesce(movements.new_mrr_cents, 0)') }} as new_mrr_cents,
        {{ to_bigint('coalesce(movements.reactivation_mrr_cents, 0)') }} as reactivation_mrr_cents,
        {{ to_bigint('coalesce(movements.expansion_mrr_cents, 0)') }} as expansion_mrr_cents,
        {{ to_bigint('coalesce(movements.contraction_mrr_cents, 0)') }} as contraction_mrr_cents,
        {{ to_bigint('coalesce(movements.churned_mrr_cents, 0)') }} as churned_mrr_cents,

        coalesce(activity.total_leads, 0)::bigint as total_leads,
        coalesce(activity.total_messages, 0)::bigint as total_messages,
        coalesce(activity.total_ai_responses, 0)::bigint as total_ai_responses,
        coalesce(activity.total_escalations, 0)::bigint as total_escalations,
        {{ to_bigint('coalesce(activity.total_api_costs_cents, 0)') }} as total_api_costs_cents,
        {{ whole_mean(
            'coalesce(activity.total_api_costs_cents, 0)', 'client_days.active_clients'
        ) }} as avg_cost_per_client_cents,
        round(
            activity.ratings_total / nullif(activity.reviews_received, 0), 2
        ) as avg_client_satisfaction,

        now() as updated_at
    from client_days
    inner join revenues on client_days.date = revenues.date
    left join movements on client_days.date = movements.date
    left join activity on client_days.date = activity.date
)

select * from days
