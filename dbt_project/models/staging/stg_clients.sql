with

clients as (
    select * from {{ source('staging', 'clients') }}
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

numbered as (
    select
        clients.client_id,
        batches.batch_seq,

        clients.name,
        clients.status,
        clients.plan,

        clients.created_at,
        clients.churned_at,
        clients.updated_at
    from clients
    inner join batches on clients.batch_id = batches.batch_id
)

select * from numbered
