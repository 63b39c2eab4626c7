{{ config(incremental_strategy='append_new', indexes=[{'columns': ['batch_seq']}, {'columns': ['occurred_on']}]) }}

select * from {{ ref('stg_chat_events') }}
where {{ in_new_batches() }}
