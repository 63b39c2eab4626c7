with

asked as (
    select * from {{ ref('int_lead_events') }}
    where
        direction = 'inbound'
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'event_id', 'occurred_at']) }}
),

messages as (
    select * from {{ ref('int_lead_events') }}
    where direction = 'outbound' and {{ is_visible() }}
),

answered as (
    select
        asked.client_id,
        asked.event_id,
        asked.occurred_at,
        asked.occurred_on,
        asked.lead_id,
        answers.occurred_at as answered_at,
        extract(epoch from answers.occurred_at - asked.occurred_at) as seconds_to_answer,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from asked
    left join lateral (
        select messages.occurred_at from messages
        where
            messages.client_id = asked.client_id
            and messages.lead_id = asked.lead_id
            and messages.occurred_at > asked.occurred_at
        order by messages.occurred_at
        limit 1
    ) as answers on true
)

select * from answered
