{# Dense: a row for every client and day of the span. #}
with

client_days as (
    select * from {{ touched_client_periods('day', 'date', 'date') }}
),

activity as (
    select * from {{ ref('int_client_activity_daily') }}
    where {{ in_touched_cells(['client_id', 'date']) }}
),

stage_changes as (
    select * from {{ ref('int_lead_stage_changes_daily') }}
    where client_id in (select client_days.client_id from client_days)
),

-- The leads in a stage are all that ever entered it less all that left it: one row per day with a
-- change, of these clients only, however many leads they have.
stage_steps as (
    select
        {% for stage in lead_stages() %}
        leads_{{ stage }},
        {% endfor %}
        client_id,
        date,
        false as is_asked_for
    from stage_changes
    union all
    select
        {% for stage in lead_stages() %}
        0 as leads_{{ stage }},
        {% endfor %}
        client_id,
        date,
        true as is_asked_for
    from client_days
),

stage_levels as (
    select
        {% for stage in lead_stages() %}
        sum(leads_{{ stage }}) over until_the_days_end as leads_{{ stage }},
        {% endfor %}
        client_id,
        date,
        is_asked_for
    from stage_steps
    window until_the_days_end as (partition by client_id order by date)
),

stages as (
    select * from stage_levels
    where is_asked_for
),

days as (
    select
        client_days.client_id,
        client_days.date,

        coalesce(activity.new_leads, 0) as new_leads,
        {% for source in counted_lead_sources() %}
        coalesce(activity.leads_from_{{ source }}s, 0) as leads_from_{{ source }}s,
        {% endfor %}
        coalesce(
            activity.new_leads
            {% for source in counted_lead_sources() %}
            - activity.leads_from_{{ source }}s
            {% endfor %},
            0
        ) as leads_from_other,

        {% for figure in client_day_counts() + client_day_amounts() %}
        coalesce(activity.{{ figure }}, 0) as {{ figure }},
        {% endfor %}
        {{ whole_mean(
            'activity.seconds_to_answer_total', 'activity.answered_messages'
        ) }} as avg_response_time_seconds,
        round(
            activity.ratings_total::numeric / nullif(activity.reviews_received, 0), 2
        ) as avg_rating,

        {% for stage in lead_stages() %}
        stages.leads_{{ stage }}::bigint as leads_{{ stage }},
        {% endfor %}

        now() as updated_at
    from client_days
    inner join
        stages
        on client_days.client_id = stages.client_id and client_days.date = stages.date
    left join
        activity
        on client_days.client_id = activity.client_id and client_days.date = activity.date
)

select * from days
