{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['user_id', 'occurred_on']},
        ],
    )
}}

select * from {{ ref('stg_credit_events') }}
where {{ in_new_batches() }}
