{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'occurred_on']},
        ],
    )
}}

select * from {{ ref('stg_api_cost_events') }}
where {{ in_new_batches() }}
