{#
    A new outbound message answers what came in since the outbound message before it; whatever is
    older has its answer already.
#}
{{
    config(
        meta={
            'cells': ['client_id', 'event_id', 'occurred_at'],
            'touched_by': {
                'int_lead_events': "
                    select client_id, event_id, occurred_at from new_rows
                    where direction = 'inbound'
                    union all
                    select asked.client_id, asked.event_id, asked.occurred_at
                    from (
                        select distinct client_id, lead_id, occurred_at from new_rows
                        where
                            direction = 'outbound'
                            and {{ is_increment() }}
                    ) as answers
                    cross join lateral (
                        select max(earlier.occurred_at) as occurred_at
                        from {{ ref('int_lead_events') }} as earlier
                        where
                            earlier.client_id = answers.client_id
                            and earlier.lead_id = answers.lead_id
                            and earlier.occurred_at < answers.occurred_at
                            and earlier.direction = 'outbound'
                            and {{ is_visible('earlier') }}
                    ) as answer_before
                    -- One answer at a time, by the index: that is what `offset 0` keeps the planner to.
                    cross join lateral (
                        select questions.client_id, questions.event_id, questions.occurred_at
                        from {{ ref('int_lead_events') }} as questions
                        where
                            questions.client_id = answers.client_id
                            and questions.lead_id = answers.lead_id
                            and questions.occurred_at < answers.occurred_at
                            and questions.occurred_at >= coalesce(answer_before.occurred_at, '-infinity')
                            and questions.direction = 'inbound'
                            and {{ is_visible('questions') }}
                        offset 0
                    ) as asked
                ",
            },
            'window_on': "(occurred_at at time zone 'utc')::date",
        },
        indexes=[
            {'columns': ['client_id', 'occurred_on']},
            {'columns': ['built_batch_seq']},
            {'columns': ['built_as_of']},
        ],
    )
}}

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
