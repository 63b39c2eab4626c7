with

events as (
    select * from {{ ref('int_lead_events') }}
    where
        {{ is_funnel_event() }}
        and {{ is_client() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'event_id', 'occurred_at']) }}
),

leads as (
    select * from {{ ref('lead_funnel') }}
),

sourced as (
    select
        events.client_id,
        events.event_id,
        events.occurred_at as created_at,
        events.lead_id,
        events.event as event_type,
        events.event_data,
        events.value_cents,
        leads.source,
        leads.campaign,
        now() as updated_at
    from events
    inner join leads on events.client_id = leads.client_id and events.lead_id = leads.lead_id
)

select * from sourced
