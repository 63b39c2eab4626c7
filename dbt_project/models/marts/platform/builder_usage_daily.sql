with

events as (
    select * from {{ ref('int_builder_action_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'occurred_on', 'action']) }}
),

days as (
    select
        client_id,
        occurred_on as date,
        action,
        count(*) as actions,
        count(distinct user_id) as users,
        now() as updated_at
    from events
    group by client_id, occurred_on, action
)

select * from days
