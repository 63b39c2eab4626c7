-- Checks that have failed and not recovered: since when, and when that was last notified.
select e.job, min(e.occurred_at) as since, max(e.occurred_at) as latest
from warehouse.run_events as e
where
    e.event = 'check_failed' and not exists (
        select 1 from warehouse.run_events as r
        where r.event = 'check_recovered' and r.job = e.job and r.occurred_at > e.occurred_at
    )
group by e.job
