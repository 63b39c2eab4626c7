-- Which sequence numbers producers have used, whether the line was accepted or not: an accepted
-- event's at its own time, all others at the start of their day, because nothing more is known of
-- them.
with

raw_events as (
    select * from {{ landed_events() }}
),

other_lines as (
    select * from {{ source('staging', 'used_sequences') }}
),

of_events as (
    select
        context ->> 'producer' as producer,
        (context ->> 'sequence')::numeric::bigint as "sequence",
        batch_seq,
        occurred_at,
        occurred_on,
        coalesce((context ->> 'dropped')::numeric::bigint, 0) as dropped
    from raw_events
    where context ->> 'producer' is not null and context ->> 'sequence' is not null
),

of_other_lines as (
    select
        producer,
        "sequence",
        batch_seq,
        day::timestamp at time zone 'utc' as occurred_at,
        day as occurred_on,
        0 as dropped
    from other_lines
),

uses as (
    select * from of_events
    union all
    select * from of_other_lines
)

select
    producer,
    "sequence",
    batch_seq,
    occurred_at,
    occurred_on,
    max(dropped) as dropped
from uses
group by producer, "sequence", batch_seq, occurred_at, occurred_on
