select
    user_id,
    client_id,
    "role",
    plan,
    monthly_message_limit,
    monthly_token_limit,
    monthly_cost_limit,
    created_at,
    is_inferred,
    entity_updated_at,
    updated_at
from {{ ref('int_users') }}
