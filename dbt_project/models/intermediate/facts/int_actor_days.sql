{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'occurred_at']},
            {'columns': ['user_id', 'occurred_at']},
        ],
    )
}}

select * from {{ ref('stg_actor_days') }}
where {{ in_new_batches() }}
