select
    t.id as key,
    'lead_stage_changed' as event,
    t.changed_at as "timestamp",
    jsonb_build_object('client_id', l.client_id, 'lead_id', l.id::text) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_build_object('stage', t.stage) as properties
from lead_stage_history as t
inner join leads as l on t.lead_id = l.id
where t.updated_at >= :since and t.updated_at < :until
