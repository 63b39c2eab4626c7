select
    t.id as key,
    'message' as event,
    t.sent_at as "timestamp",
    jsonb_build_object('client_id', l.client_id, 'lead_id', l.id::text) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_strip_nulls(
        jsonb_build_object(
            'direction', t.direction,
            'sender_type', t.sender,
            'conversation_id', t.conversation_id
        )
    ) as properties
from messages as t
inner join leads as l on t.lead_id = l.id
where t.updated_at >= :since and t.updated_at < :until
