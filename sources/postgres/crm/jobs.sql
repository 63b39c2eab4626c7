select
    t.id as key,
    e.event,
    e.happened_at as "timestamp",
    jsonb_build_object('client_id', l.client_id, 'lead_id', l.id::text) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_strip_nulls(e.properties) as properties
from jobs as t
inner join leads as l on t.lead_id = l.id
inner join lateral (
    values
    ('job_won', t.won_at, jsonb_build_object('value_cents', t.value_cents)),
    ('job_lost', t.lost_at, jsonb_build_object('reason', t.lost_reason))
) as e (event, happened_at, properties) on e.happened_at is not null
where
    t.updated_at >= :since
    and t.updated_at < :until
