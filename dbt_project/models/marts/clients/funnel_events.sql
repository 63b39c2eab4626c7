{# A lead's source and campaign stand on all its events: a creation that moves touches all. #}
{{
    config(
        meta={
            'cells': ['client_id', 'event_id', 'created_at'],
            'touched_by': {
                'int_lead_events': "
                    select client_id, event_id, occurred_at from new_rows
                    where event in {{ funnel_events() }}
                    union all
                    select events.client_id, events.event_id, events.occurred_at
                    from (
                        select distinct on (client_id, lead_id) * from new_rows
                        where
                            event = 'lead_created'
                            and {{ is_increment() }}
                        order by client_id, lead_id, occurred_at, event_id
                    ) as created
                    -- One lead at a time, by the index: that is what `offset 0` keeps the planner to.
                    left join lateral (
                        select known.occurred_at, known.event_id
                        from {{ ref('int_lead_events') }} as known
                        where
                            known.client_id = created.client_id
                            and known.lead_id = created.lead_id
                            and known.event = 'lead_created'
                            and {{ was_visible('known') }}
                        order by known.occurred_at, known.event_id
                        limit 1
                    ) as known_before on true
                    cross join lateral (
                        select happenings.client_id, happenings.event_id, happenings.occurred_at
                        from {{ ref('int_lead_events') }} as happenings
                        where
                            happenings.client_id = created.client_id
                            and happenings.lead_id = created.lead_id
                            and happenings.event in {{ funnel_events() }}
                            and {{ is_visible('happenings') }}
                        offset 0
                    ) as events
                    where
                        known_before.occurred_at is null
                        or (known_before.occurred_at, known_before.event_id)
                        > (created.occurred_at, created.event_id)
                ",
            },
            'window_on': "(created_at at time zone 'utc')::date",
        },
        indexes=[{'columns': ['client_id', 'lead_id']}, {'columns': ['created_at']}],
    )
}}

with

events as (
    select * from {{ ref('int_lead_events') }}
    where
        event in {{ funnel_events() }}
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
