with

raw_events as (
    select * from {{ landed_events(['pdf_download']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'user_id', '') as user_id,
        nullif(actor ->> 'unit_id', '') as unit_id,
        properties ->> 'document_id' as document_id,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
