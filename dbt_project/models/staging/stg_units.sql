with

units as (
    select * from {{ source('staging', 'units') }}
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

numbered as (
    select
        units.unit_id,
        units.development_id,
        units.client_id,
        batches.batch_seq,

        units.updated_at
    from units
    inner join batches on units.batch_id = batches.batch_id
)

select * from numbered
