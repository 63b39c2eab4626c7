{#
    Clients are counted anew for every day, and the days whose counts differ are touched: new days,
    and whatever a client that came, went or changed has moved. A subscription's event touches its
    day and all later ones.
#}
{{
    config(
        meta={
            'cells': ['date'],
            'touched_by': {
                'int_clients': "
                    {% if load_cached_relation(this) is none %}
                    select date from {{ client_counts() }}
                    {% else %}
                    select coalesce(counts.date, known.date)
                    from {{ client_counts() }}
                    full join {{ this }} as known on counts.date = known.date
                    where
                        not {{ is_increment() }}
                        or (counts.total_clients, counts.active_clients, counts.new_clients, counts.churned_clients)
                        is distinct from
                        (known.total_clients, known.active_clients, known.new_clients, known.churned_clients)
                    {% endif %}
                ",
                'int_client_activity_daily': 'select date from new_rows',
                'int_subscription_events': "
                    select days.date::date
                    from generate_series(
                        (select min(occurred_on) from new_rows where {{ is_client() }})::timestamp,
                        {{ day_of(as_of()) }}::timestamp,
                        interval '1 day'
                    ) as days (date)
                ",
            },
            'window_on': 'date',
            'restated': {
                'period': 'date',
                'closes_at': "((date + 1)::timestamp at time zone 'utc')",
                'of_entities': [
                    'total_clients',
                    'active_clients',
                    'new_clients',
                    'churned_clients',
                    'avg_cost_per_client_cents',
                ],
            },
        },
    )
}}

-- depends_on: {{ ref('int_subscription_events') }}
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

spells as (
    select * from {{ ref('int_subscription_spells') }}
    where mrr_cents > 0
),

paying_clients as (
    select
        client_id,
        min(started_on) as first_paid_on
    from spells
    group by client_id
),

-- What each client paid at the end of a touched day, and of the day before it.
client_revenues as (
    select
        client_days.date,
        spells.client_id,
        coalesce(sum(spells.mrr_cents) filter (
            where
            spells.started_on <= client_days.date
            and (spells.ended_on is null or spells.ended_on > client_days.date)
        ), 0) as today,
        coalesce(sum(spells.mrr_cents) filter (
            where spells.started_on < client_days.date
        ), 0) as yesterday
    from client_days
    inner join
        spells
        on
            client_days.date >= spells.started_on
            and (spells.ended_on is null or client_days.date <= spells.ended_on)
    group by client_days.date, spells.client_id
),

movements as (
    select
        client_revenues.date,
        sum(client_revenues.today) as mrr_cents,
        sum(client_revenues.today) filter (
            where paying_clients.first_paid_on = client_revenues.date
        ) as new_mrr_cents,
        sum(client_revenues.today) filter (
            where
            client_revenues.yesterday = 0
            and paying_clients.first_paid_on < client_revenues.date
        ) as reactivation_mrr_cents,
        sum(client_revenues.today - client_revenues.yesterday) filter (
            where
            client_revenues.yesterday > 0
            and client_revenues.today > client_revenues.yesterday
        ) as expansion_mrr_cents,
        sum(client_revenues.yesterday - client_revenues.today) filter (
            where client_revenues.today > 0 and client_revenues.today < client_revenues.yesterday
        ) as contraction_mrr_cents,
        sum(client_revenues.yesterday) filter (
            where client_revenues.today = 0
        ) as churned_mrr_cents
    from client_revenues
    inner join paying_clients on client_revenues.client_id = paying_clients.client_id
    group by client_revenues.date
),

days as (
    select
        client_days.date,

        client_days.total_clients,
        client_days.active_clients,
        client_days.new_clients,
        client_days.churned_clients,

        {{ to_bigint('coalesce(movements.mrr_cents, 0)') }} as mrr_cents,
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
    left join movements on client_days.date = movements.date
    left join activity on client_days.date = activity.date
)

select * from days
