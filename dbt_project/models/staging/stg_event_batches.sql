-- What was received, by batch of events and UTC day of receipt.
with

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

events_batches as (
    select
        batch_seq,
        {{ day_of('received_at') }} as received_on,
        received,
        replayed,
        accepted,
        duplicates,
        suppressed,
        rejected,
        erased,
        erased_by
    from batches
    where kind = 'events'
)

select * from events_batches
