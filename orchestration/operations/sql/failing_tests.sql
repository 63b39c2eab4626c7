-- The stored tests of one severity whose last run found failing rows.
select
    t.test,
    t.failing_rows,
    last_result.failures
from warehouse.stored_tests as t
cross join
    lateral (
        select
            r.passed,
            r.failures
        from warehouse.check_results as r
        where r.check_name = 'dbt.' || t.test
        order by r.checked_at desc
        limit 1
    ) as last_result
where t.severity = %(severity)s and not last_result.passed
order by t.test
