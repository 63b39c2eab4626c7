select
    t.id as key,
    'appointment_booked' as event,
    t.booked_at as "timestamp",
    jsonb_build_object('client_id', l.client_id, 'lead_id', l.id::text) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_build_object('appointment_at', t.starts_at) as properties
from appointments as t
inner join leads as l on t.lead_id = l.id
where t.updated_at >= :since and t.updated_at < :until
