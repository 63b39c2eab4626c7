{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'message_id']},
            {'columns': ['user_id', 'occurred_on']},
        ],
    )
}}

select * from {{ ref('stg_chat_events') }}
where {{ in_new_batches() }}
