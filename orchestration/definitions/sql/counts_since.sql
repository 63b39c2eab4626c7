-- What the ledger counts of one kind of lines since an instant, in seconds since 1970.
select
    coalesce(sum(b.received), 0)::bigint as received,
    coalesce(sum(b.accepted), 0)::bigint as accepted,
    coalesce(sum(b.duplicates), 0)::bigint as duplicates,
    coalesce(sum(b.suppressed), 0)::bigint as suppressed,
    coalesce(sum(b.rejected), 0)::bigint as rejected
from staging.event_batches as b
where b.kind = %(kind)s and b.committed_at > to_timestamp(%(since)s)
