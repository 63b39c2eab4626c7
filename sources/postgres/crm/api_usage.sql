select
    id as key,
    'api_cost' as event,
    billed_at as "timestamp",
    jsonb_build_object('client_id', client_id) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_build_object('cost_cents', cost_cents, 'service', service) as properties
from api_usage
where updated_at >= :since and updated_at < :until
