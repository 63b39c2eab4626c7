{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['server_id', 'metric_type', 'occurred_hour']},
        ],
    )
}}

select * from {{ ref('stg_system_metric_events') }}
where {{ in_new_batches() }}
