with

batches as (
    select * from {{ ref('stg_event_batches') }}
    where batch_seq <= {{ to_batch() }} and {{ in_touched_cells(['received_on']) }}
),

counted as (
    select
        received_on,
        sum(modelled)::bigint as modelled,
        sum(not_yet_visible)::bigint as not_yet_visible
    from {{ ref('int_event_batches') }}
    where batch_seq <= {{ to_batch() }} and {{ in_touched_cells(['received_on']) }}
    group by received_on
),

received as (
    select
        received_on,
        sum(received)::bigint as received,
        sum(replayed)::bigint as replayed,
        sum(accepted)::bigint as accepted,
        sum(duplicates)::bigint as duplicates,
        sum(suppressed)::bigint as suppressed,
        sum(rejected)::bigint as rejected,
        sum(erased)::bigint as erased
    from batches
    group by received_on
),

reconciled as (
    select
        received.received_on as date,
        received.received,
        received.replayed,
        received.accepted,
        received.duplicates,
        received.suppressed,
        received.rejected,
        coalesce(counted.modelled, 0) as modelled,
        coalesce(counted.not_yet_visible, 0) as not_yet_visible,
        received.erased,
        received.accepted
        - coalesce(counted.modelled + counted.not_yet_visible, 0)
        - received.erased as unexplained,
        now() as updated_at
    from received
    left join counted on received.received_on = counted.received_on
)

select * from reconciled
