-- The tests of some models (NULL: of all), with the models that they read, and whether their last
-- run found a failure.
select
    t.test,
    t.models,
    t.severity,
    coalesce(not last_result.passed, false) as has_failed
from warehouse.stored_tests as t
left join lateral (
    select r.passed from warehouse.check_results as r
    where r.check_name = 'dbt.' || t.test
    order by r.checked_at desc
    limit 1
) as last_result on true
where %(names)s::text[] is null or t.models <@ %(names)s
order by t.test
