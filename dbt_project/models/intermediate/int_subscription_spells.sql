with

events as (
    select * from {{ ref('int_subscription_events') }}
    where
        {{ is_client() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'subscription_id']) }}
),

-- The last event of a day decides the state at its end. At the same instant a subscription is first
-- started, then changed, then cancelled, whatever the events' ids.
day_ends as (
    select distinct on (client_id, subscription_id, occurred_on)
        client_id,
        subscription_id,
        occurred_on,
        event,
        plan,
        mrr_cents
    from events
    order by
        client_id asc,
        subscription_id asc,
        occurred_on asc,
        occurred_at desc,
        array_position(
            array['subscription_started', 'subscription_changed', 'subscription_cancelled'], event
        ) desc,
        event_id desc
),

spells as (
    select
        client_id,
        subscription_id,
        occurred_on as started_on,
        lead(occurred_on) over (
            partition by client_id, subscription_id order by occurred_on
        ) as ended_on,
        event,
        plan,
        mrr_cents
    from day_ends
),

live_spells as (
    select
        client_id,
        subscription_id,
        started_on,
        ended_on,
        plan,
        mrr_cents,
        now() as updated_at
    from spells
    where event <> 'subscription_cancelled'
)

select * from live_spells
