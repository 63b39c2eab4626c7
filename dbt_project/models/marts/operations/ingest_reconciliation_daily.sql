with

batches as (
    select * from {{ ref('stg_event_batches') }}
    where batch_seq <= {{ to_batch() }} and {{ in_touched_cells(['received_on']) }}
),

-- Counted in what the models read, independently of the loader's counts.
events as (
    select
        batches.received_on,
        count(*) filter (where events.occurred_at < {{ as_of() }}) as modelled,
        count(*) filter (where events.occurred_at >= {{ as_of() }}) as not_yet_visible
    from batches
    inner join {{ ref('int_events') }} as events on batches.batch_seq = events.batch_seq
    group by batches.received_on
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
        coalesce(events.modelled, 0) as modelled,
        coalesce(events.not_yet_visible, 0) as not_yet_visible,
        received.erased,
        received.accepted
        - coalesce(events.modelled + events.not_yet_visible, 0)
        - received.erased as unexplained,
        now() as updated_at
    from received
    left join events on received.received_on = events.received_on
)

select * from reconciled
