-- The first plan starts a subscription, each later one changes it, and the last one may end it.
select
    t.id as key,
    e.event,
    e.happened_at as "timestamp",
    jsonb_build_object('client_id', t.client_id) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_build_object('subscription_id', t.number) || e.properties as properties
from subscriptions as t
inner join lateral (
    values
    (
        case when t.phase = 1 then 'subscription_started' else 'subscription_changed' end,
        t.starts_at,
        jsonb_build_object('plan', t.plan, 'mrr_cents', t.mrr_cents)
    ),
    ('subscription_cancelled', t.cancelled_at, '{}'::jsonb)
) as e (event, happened_at, properties) on e.happened_at is not null
where
    t.updated_at >= :since
    and t.updated_at < :until
