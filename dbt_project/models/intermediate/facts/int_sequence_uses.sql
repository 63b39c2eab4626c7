{# The tracking plan does not limit the producer of a rejected line: its hash is indexed. #}
{{
    config(
        indexes=[
            {'columns': ['batch_seq']},
            {'columns': ['occurred_on']},
            {
                'columns': [hashed('producer'), 'sequence', 'occurred_at', 'batch_seq'],
                'unique': true,
            },
        ],
    )
}}

select * from {{ ref('stg_sequence_uses') }}
where {{ in_new_batches() }}
