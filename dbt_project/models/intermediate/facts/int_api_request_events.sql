{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['occurred_hour']},
        ],
    )
}}

select * from {{ ref('stg_api_request_events') }}
where {{ in_new_batches() }}
