select
    t.id as key,
    'payment_received' as event,
    t.received_at as "timestamp",
    jsonb_build_object('client_id', l.client_id, 'lead_id', l.id::text) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_build_object('value_cents', t.value_cents, 'invoice_id', i.number) as properties
from payments as t
inner join invoices as i on t.invoice_id = i.id
inner join leads as l on i.lead_id = l.id
where t.updated_at >= :since and t.updated_at < :until
