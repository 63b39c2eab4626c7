select b.* from staging.event_batches as b
where b.batch_seq > %(after)s and b.batch_seq <= %(upto)s
