with

raw_events as (
    select * from {{ landed_events(['api_cost']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        properties ->> 'service' as service,

        (properties ->> 'cost_cents')::numeric::bigint as cost_cents,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
