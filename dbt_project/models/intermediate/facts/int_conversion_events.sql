{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'occurred_on']},
            {'columns': ['client_id', 'visitor_id', 'occurred_at']},
            {'columns': ['client_id', 'session_id', 'occurred_at']},
        ],
    )
}}

select * from {{ ref('stg_conversion_events') }}
where {{ in_new_batches() }}
