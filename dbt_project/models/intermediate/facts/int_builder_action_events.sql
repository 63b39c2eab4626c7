{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {'columns': ['client_id', 'occurred_on', 'action']},
        ],
    )
}}

select * from {{ ref('stg_builder_action_events') }}
where {{ in_new_batches() }}
