-- Whether the digest of a day was written.
select count(*) > 0 as has_digest
from warehouse.notifications as n
where n.written_at >= %(since)s and n.content ->> 'severity' = %(severity)s
