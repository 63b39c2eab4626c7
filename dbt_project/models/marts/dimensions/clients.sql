select
    client_id,
    name,
    status,
    plan,
    created_at,
    churned_at,
    is_inferred,
    entity_updated_at,
    updated_at
from {{ ref('int_clients') }}
