-- A lead becomes up to three events: its creation, its first answer and its qualification.
select
    l.id as key,
    e.event,
    e.happened_at as "timestamp",
    jsonb_build_object('client_id', l.client_id, 'lead_id', l.id::text) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_strip_nulls(e.properties) as properties
from leads as l
inner join lateral (
    values
    (
        'lead_created',
        case when not l.is_imported then l.created_at end,
        jsonb_build_object('source', l.source, 'campaign', l.campaign)
    ),
    (
        'first_response',
        l.first_response_at,
        jsonb_build_object(
            'response_time_seconds', round(extract(epoch from l.first_response_at - l.created_at))
        )
    ),
    ('qualified', l.qualified_at, '{}'::jsonb)
) as e (event, happened_at, properties) on e.happened_at is not null
where
    l.updated_at >= :since
    and l.updated_at < :until
