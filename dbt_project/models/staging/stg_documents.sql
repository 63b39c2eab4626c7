with

documents as (
    select * from {{ source('staging', 'documents') }}
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

numbered as (
    select
        documents.document_id,
        batches.batch_seq,

        documents.title,
        documents.city,
        documents.zoning,
        documents."zone",

        documents.updated_at
    from documents
    inner join batches on documents.batch_id = batches.batch_id
)

select * from numbered
