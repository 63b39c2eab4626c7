{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'subscription_id', 'occurred_at']},
        ],
    )
}}

select * from {{ ref('stg_subscription_events') }}
where {{ in_new_batches() }}
