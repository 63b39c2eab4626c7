-- What failed and has not recovered, and since when; the longest first.
select
    case e.event when 'run_failed' then 'job ' else 'check ' end || e.job as what,
    min(e.occurred_at) as since
from warehouse.run_events as e
where
    e.event in ('run_failed', 'check_failed')
    and not exists (
        select 1 from warehouse.run_events as r
        where
            r.event = case e.event when 'run_failed' then 'run_recovered' else 'check_recovered' end
            and r.job = e.job
            and r.occurred_at > e.occurred_at
    )
group by e.event, e.job
order by since
