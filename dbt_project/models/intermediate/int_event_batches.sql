with

batches as (
    select
        received_on,
        batch_seq
    from {{ ref('stg_event_batches') }}
    where
        batch_seq <= {{ to_batch() }}
        and {{ in_touched_cells(['received_on', 'batch_seq']) }}
),

-- Counted in what the models read, independently of the loader's counts.
counted as (
    select
        batches.received_on,
        batches.batch_seq,
        count(*) filter (where events.occurred_at < {{ as_of() }}) as modelled,
        count(*) filter (where events.occurred_at >= {{ as_of() }}) as not_yet_visible,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from batches
    left join {{ ref('int_events') }} as events on batches.batch_seq = events.batch_seq
    group by batches.received_on, batches.batch_seq
)

select * from counted
