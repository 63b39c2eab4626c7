{# The tracking plan does not limit the length of a view: its hash is indexed. #}
{{ config(indexes=[{'columns': ['date', 'event', hashed('view')], 'unique': true}]) }}

with

events as (
    select
        *,
        coalesce(view, 'none') as view_or_none
    from {{ ref('int_dashboard_events') }}
    where
        {{ is_visible() }}
        and {{ in_touched('occurred_on', 'date') }}
        and {{ in_touched_cells(['occurred_on', 'event', "coalesce(view, 'none')"]) }}
),

days as (
    select
        occurred_on as date,
        event,
        view_or_none as view,
        count(*) as uses,
        count(distinct user_id) as users,
        now() as updated_at
    from events
    group by occurred_on, event, view_or_none
)

select * from days
