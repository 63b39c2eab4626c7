select
    s.mart,
    s.row_count as rows,
    s.batch_seq,
    (
        select count(*) from staging.event_batches as b
        where b.batch_seq > coalesce(s.batch_seq, 0)
    ) as batches_behind,
    s.built_as_of,
    s.freshness_seconds,
    s.last_check_status,
    s.last_check_at
from marts.mart_status as s
order by s.mart
