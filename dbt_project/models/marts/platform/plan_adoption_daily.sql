{# A subscription's event touches its day and all later ones; a new day is as the one before it. #}
{{
    config(
        meta={
            'cells': ['date'],
            'touched_by': {
                'int_subscription_events': "
                    select days.date::date
                    from generate_series(
                        least(
                            (select min(occurred_on) from new_rows where {{ is_client() }}),
                            greatest(
                                {{ day_of(from_as_of()) }} + 1,
                                coalesce(
                                    (select min(started_on) from {{ ref('int_subscription_spells') }}),
                                    {{ day_of(as_of()) }} + 1
                                )
                            )
                        )::timestamp,
                        {{ day_of(as_of()) }}::timestamp,
                        interval '1 day'
                    ) as days (date)
                ",
            },
            'window_on': 'date',
        },
    )
}}

-- depends_on: {{ ref('int_subscription_events') }}
with

touched as (
    select date from {{ touched_table() }}
),

spells as (
    select * from {{ ref('int_subscription_spells') }}
),

client_plans as (
    select
        touched.date,
        spells.client_id,
        spells.plan,
        count(*) as active_subscriptions,
        sum(spells.mrr_cents) as mrr_cents
    from touched
    inner join
        spells
        on
            touched.date >= spells.started_on
            and (spells.ended_on is null or touched.date < spells.ended_on)
    group by touched.date, spells.client_id, spells.plan
),

ranked as (
    select
        *,
        row_number() over (
            partition by date, client_id
            order by mrr_cents desc, active_subscriptions desc, plan collate "C" asc
        ) as place
    from client_plans
),

named as (
    select
        date,
        case when place <= {{ var('plans_by_name') }} then plan else 'other' end as plan,
        active_subscriptions,
        mrr_cents
    from ranked
),

days as (
    select
        date,
        plan,
        sum(active_subscriptions)::bigint as active_subscriptions,
        {{ to_bigint('sum(mrr_cents)') }} as mrr_cents,
        now() as updated_at
    from named
    group by date, plan
)

select * from days
