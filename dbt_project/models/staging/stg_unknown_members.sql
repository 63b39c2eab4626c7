-- Members that the tracking plan does not know, by the day of receipt of their events.
with

members as (
    select * from {{ source('staging', 'unknown_members') }}
),

batches as (
    select * from {{ ref('stg_event_batches') }}
),

received as (
    select
        members.batch_seq,
        batches.received_on,
        members.event,
        -- All that are not counted by name have a path alone.
        case
            when members.path = 'other' then members.path
            else members.path || '.' || members.name
        end as member,
        members.events,
        members.nearest_known
    from members
    inner join batches on members.batch_seq = batches.batch_seq
)

select * from received
