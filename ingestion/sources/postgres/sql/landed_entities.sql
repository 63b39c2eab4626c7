-- The entities that a stream wrote last, of those that changed in some time.
select e.{key} as key
from {table} as e
inner join staging.event_batches as b on e.batch_id = b.batch_id
where
    b.source = %(source)s
    and e.updated_at >= %(since)s
    and e.updated_at < %(until)s
