select
    user_id,
    year,
    month,
    year_month,
    make_date(year, month, 1) as month_start,
    {{ user_month_measures() }},
    updated_at,
    is_complete
from {{ ref('user_monthly_usage') }}
