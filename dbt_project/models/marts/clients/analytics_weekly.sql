{# Dense: a row for every client and week that the span touches. #}
with

client_weeks as (
    select * from {{ touched_client_periods('week', 'week_start', 'week_start') }}
),

activity as (
    select * from {{ ref('int_client_activity_daily') }}
),

messages as (
    select * from {{ ref('int_lead_events') }}
    where
        event = 'message'
        and {{ is_visible() }}
        and {{ in_touched_periods('occurred_on', 'week_start') }}
),

-- The touched weeks, and the weeks that they are compared with.
weeks_read as (
    select
        client_id,
        week_start
    from client_weeks
    union
    select
        client_id,
        week_start - 7 as week_start
    from client_weeks
),

sums as (
    select
        weeks_read.client_id,
        weeks_read.week_start,
        sum(activity.new_leads) as new_leads,
        sum(activity.appointments_booked) as appointments_booked,
        sum(activity.jobs_won) as jobs_won,
        sum(activity.revenue_attributed_cents) as revenue_attributed_cents,
        sum(activity.payments_collected_cents) as payments_collected_cents,
        sum(activity.answered_messages) as answered_messages,
        sum(activity.answered_within_five_min) as answered_within_five_min,
        sum(activity.seconds_to_answer_total) as seconds_to_answer_total
    from weeks_read
    inner join
        activity
        on
            weeks_read.client_id = activity.client_id
            and weeks_read.week_start <= activity.date
            and weeks_read.week_start + 7 > activity.date
    group by weeks_read.client_id, weeks_read.week_start
),

conversations_of_weeks as (
    select distinct
        client_weeks.client_id,
        client_weeks.week_start,
        coalesce(messages.conversation_id, messages.lead_id) as conversation_id
    from client_weeks
    inner join
        messages
        on
            client_weeks.client_id = messages.client_id
            and client_weeks.week_start <= messages.occurred_on
            and client_weeks.week_start + 7 > messages.occurred_on
),

conversations as (
    select
        client_id,
        week_start,
        count(conversation_id) as total_conversations
    from conversations_of_weeks
    group by client_id, week_start
),

weeks as (
    select
        client_weeks.client_id,
        client_weeks.week_start,

        coalesce(sums.new_leads, 0)::bigint as new_leads,
        coalesce(conversations.total_conversations, 0) as total_conversations,
        coalesce(sums.appointments_booked, 0)::bigint as appointments_booked,
        coalesce(sums.jobs_won, 0)::bigint as jobs_won,

        {{ to_bigint('coalesce(sums.revenue_attributed_cents, 0)') }} as revenue_attributed_cents,
        {{ to_bigint('coalesce(sums.payments_collected_cents, 0)') }} as payments_collected_cents,

        {{ bp('sums.appointments_booked', 'sums.new_leads') }} as lead_to_appointment_rate,
        {{ bp('sums.jobs_won', 'sums.appointments_booked') }} as appointment_to_job_rate,
        {{ bp('sums.jobs_won', 'sums.new_leads') }} as overall_conversion_rate,

        {{ whole_mean(
            'sums.seconds_to_answer_total', 'sums.answered_messages'
        ) }} as avg_response_time_seconds,
        {{ pct(
            'sums.answered_within_five_min', 'sums.answered_messages'
        ) }} as response_within_five_min,

        {{ change(
            'coalesce(sums.new_leads, 0)',
            'previous.new_leads',
            has_ended('week', 'client_weeks.week_start')
        ) }} as leads_change_percent,
        {{ change(
            'coalesce(sums.revenue_attributed_cents, 0)',
            'previous.revenue_attributed_cents',
            has_ended('week', 'client_weeks.week_start')
        ) }} as revenue_change_percent,

        {{ has_ended('week', 'client_weeks.week_start') }} as is_complete,
        now() as updated_at
    from client_weeks
    left join
        sums
        on client_weeks.client_id = sums.client_id and client_weeks.week_start = sums.week_start
    left join
        sums as previous
        on
            client_weeks.client_id = previous.client_id
            and client_weeks.week_start - 7 = previous.week_start
    left join
        conversations
        on
            client_weeks.client_id = conversations.client_id
            and client_weeks.week_start = conversations.week_start
)

select * from weeks
