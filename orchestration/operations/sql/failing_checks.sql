-- Only the latest result of each check counts, also of a check that no longer exists.
select latest.check_name, latest.model
from (
    select distinct on (check_name) check_name, model, severity, passed
    from warehouse.check_results
    order by check_name asc, checked_at desc
) as latest
where latest.severity = 'error' and not latest.passed
order by latest.check_name
