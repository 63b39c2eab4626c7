select
    f.stage,
    f.leads,
    f.value_cents,
    f.conversion_rate
from marts.get_conversion_funnel(%(client_id)s::text, %(first_day)s::date, %(last_day)s::date) as f
