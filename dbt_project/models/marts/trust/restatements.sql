select
    mart,
    client_id,
    period,
    old_values,
    new_values,
    cause,
    run,
    restated_at
from {{ source('warehouse', 'restatements') }}
