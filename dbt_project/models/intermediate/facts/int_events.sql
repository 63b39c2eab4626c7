{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['user_id', 'occurred_at']},
        ],
    )
}}

select * from {{ ref('stg_events') }}
where {{ in_new_batches() }}
