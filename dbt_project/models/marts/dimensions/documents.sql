with

entities as (
    select * from {{ ref('stg_documents') }}
),

seen as (
    select * from {{ ref('int_documents') }}
),

documents as (
    select
        coalesce(entities.document_id, seen.document_id) as document_id,
        entities.title,
        entities.city,
        entities.zoning,
        entities."zone",
        case when entities.document_id is null then seen.first_seen_at end as created_at,
        entities.document_id is null as is_inferred,
        entities.updated_at as entity_updated_at,
        coalesce(seen.updated_at, now()) as updated_at
    from entities
    full join seen on entities.document_id = seen.document_id
)

select * from documents
