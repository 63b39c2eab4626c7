select
    id as client_id,
    name,
    status,
    plan,
    created_at,
    churned_at,
    updated_at
from clients
where updated_at >= :since and updated_at < :until
