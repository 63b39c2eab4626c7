{{ config(meta={'dagster': {'ref': {'name': 'ingest_reconciliation_daily'}}}) }}

-- A line is accepted, a duplicate, suppressed or rejected; an accepted one is where models read.
select *
from {{ ref('ingest_reconciliation_daily') }}
where unexplained <> 0 or received <> accepted + duplicates + suppressed + rejected
