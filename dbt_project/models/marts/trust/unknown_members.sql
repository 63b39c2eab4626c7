with

members as (
    select * from {{ ref('stg_unknown_members') }}
),

-- What was known changes with the plan: the last batch of a day decides.
counted as (
    select
        event,
        member,
        received_on as date,
        sum(events)::bigint as events,
        (array_agg(nearest_known order by batch_seq desc))[1] as nearest_known
    from members
    group by event, member, received_on
)

select * from counted
