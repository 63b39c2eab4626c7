-- The rows of a stream whose events are of some time. Batches without such an event are not read.
select distinct r.context ->> 'row' as key
from staging.event_batches as b
inner join staging.raw_events as r on b.batch_id = r.batch_id
where
    b.source = %(source)s
    and b.max_timestamp >= %(since)s
    and b.min_timestamp < %(until)s
    and r."timestamp" >= %(since)s
    and r."timestamp" < %(until)s
    -- A key that is also the identifier of somebody who was erased has been cut out.
    and r.context ->> 'row' <> %(erased)s
