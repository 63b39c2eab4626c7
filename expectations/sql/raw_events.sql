select e.* from staging.raw_events as e
where e.batch_id = any(array(
    select b.batch_id from staging.event_batches as b
    where b.batch_seq > %(after)s and b.batch_seq <= %(upto)s
))
