-- The latest result of each check.
select distinct on (r.check_name)
    r.check_name,
    r.passed,
    r.severity,
    r.failures,
    r.detail,
    r.checked_at
from warehouse.check_results as r
order by r.check_name asc, r.checked_at desc
