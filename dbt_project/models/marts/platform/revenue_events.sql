with

events as (
    select * from {{ ref('int_revenue_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'event_id', 'occurred_at']) }}
),

named as (
    select
        client_id,
        event_id,
        occurred_at as created_at,
        user_id,
        type,
        amount_usd,
        plan_type,
        payment_provider,
        payment_id,
        now() as updated_at
    from events
)

select * from named
