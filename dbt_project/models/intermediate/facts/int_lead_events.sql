{# By direction and by event: an answer or a stage is found at once, whatever its lead has done. #}
{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'lead_id', 'event', 'occurred_at']},
            {'columns': ['client_id', 'lead_id', 'direction', 'occurred_at']},
            {'columns': ['client_id', 'occurred_on']},
        ],
    )
}}

select * from {{ ref('stg_lead_events') }}
where {{ in_new_batches() }}
