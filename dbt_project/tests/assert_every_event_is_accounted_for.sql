{{ config(meta={'dagster': {'ref': {'name': 'ingest_reconciliation_daily'}}}) }}

-- Every line is accepted, a duplicate, suppressed or rejected, and models read every accepted one.
select *
from {{ ref('ingest_reconciliation_daily') }}
where unexplained <> 0 or received + replayed <> accepted + duplicates + suppressed + rejected
