with

events as (
    select * from {{ ref('int_credit_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['user_id', 'feature_name', 'occurred_on']) }}
),

days as (
    select
        user_id,
        feature_name,
        occurred_on as date,
        sum(credits_used) as credits_used,
        coalesce(sum(cost_usd), 0) as cost_usd,
        count(*) as uses,
        now() as updated_at
    from events
    group by user_id, feature_name, occurred_on
)

select * from days
