with

creations as (
    select * from {{ ref('int_lead_events') }}
    where
        event = 'lead_created'
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'lead_id']) }}
),

-- No aggregate: it would hold all campaigns of a lead that was created again and again in memory.
earliest as (
    select distinct on (client_id, lead_id)
        client_id,
        lead_id,
        event_id,
        occurred_at as created_at,
        occurred_on as created_on,
        source,
        campaign,
        now() as updated_at
    from creations
    order by client_id asc, lead_id asc, occurred_at asc, event_id asc
)

select * from earliest
