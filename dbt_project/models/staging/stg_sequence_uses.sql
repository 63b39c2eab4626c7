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
    select distinct
        context ->> 'producer' as producer,
        (context ->> 'sequence')::numeric::bigint as "sequence",
        batch_seq,
        occurred_at,
        occurred_on
    from raw_events
    where context ->> 'producer' is not null and context ->> 'sequence' is not null
),

of_other_lines as (
    select distinct
        producer,
        "sequence",
        batch_seq,
        day::timestamp at time zone 'utc' as occurred_at,
        day as occurred_on
    from other_lines
),

uses as (
    select * from of_events
    union
    select * from of_other_lines
)

select * from uses
