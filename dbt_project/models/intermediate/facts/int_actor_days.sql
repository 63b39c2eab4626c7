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

-- Where an erasure took the first event of a day, another of the same batch may be the first now.
select * from {{ ref('stg_actor_days') }}
where {{ in_new_batches() }}
union all
select * from {{ ref('stg_actor_days') }}
where {{ is_increment() }} and batch_seq = any(array({{ batches_erased_from() }}))
