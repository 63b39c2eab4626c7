select
    t.id as key,
    'invoice_sent' as event,
    t.sent_at as "timestamp",
    jsonb_build_object('client_id', l.client_id, 'lead_id', l.id::text) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_build_object('value_cents', t.value_cents, 'invoice_id', t.number) as properties
from invoices as t
inner join leads as l on t.lead_id = l.id
where t.sent_at is not null and t.updated_at >= :since and t.updated_at < :until
