{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'message_id']},
        ],
    )
}}

select * from {{ ref('stg_chat_feedback_events') }}
where {{ in_new_batches() }}
