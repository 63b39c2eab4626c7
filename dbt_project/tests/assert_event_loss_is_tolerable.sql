{{
    config(
        severity='warn',
        meta={'dagster': {'ref': {'name': 'ingest_loss_daily'}}},
    )
}}

-- Only the last days: older losses are known, and cannot be repaired.
select *
from {{ ref('ingest_loss_daily') }}
where
    loss_percent > {{ var('tolerable_loss_percent') }}
    and date > {{ day_of(current_as_of('ingest_loss_daily')) }} - {{ var('loss_warning_days') }}
