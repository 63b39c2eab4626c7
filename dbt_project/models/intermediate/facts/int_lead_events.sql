{# By direction, a message's answer is found at once, however many messages its lead has. #}
{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'lead_id', 'occurred_at']},
            {'columns': ['client_id', 'lead_id', 'direction', 'occurred_at']},
            {'columns': ['client_id', 'occurred_on']},
        ],
    )
}}

select * from {{ ref('stg_lead_events') }}
where {{ in_new_batches() }}
