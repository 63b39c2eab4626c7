{{ config(incremental_strategy='append_new', indexes=[{'columns': ['batch_seq']}, {'columns': ['occurred_on']}]) }}

select * from {{ ref('stg_session_events') }}
where {{ in_new_batches() }}
