-- Of the clients of each month, how many percent were active 0 to 6 months later?
-- Months that have not ended are left empty: they would look like a loss.
select
    cohort_month,
    max(cohort_size) as clients,
    max(retention_rate) filter (where month_number = 0) as month_0,
    max(retention_rate) filter (where month_number = 1) as month_1,
    max(retention_rate) filter (where month_number = 2) as month_2,
    max(retention_rate) filter (where month_number = 3) as month_3,
    max(retention_rate) filter (where month_number = 4) as month_4,
    max(retention_rate) filter (where month_number = 5) as month_5,
    max(retention_rate) filter (where month_number = 6) as month_6
from {{ ref('cohort_retention') }}
where cohort_type = 'client' and is_complete
group by cohort_month
order by cohort_month
