{{
    config(
        severity='warn',
        meta={'dagster': {'ref': {'name': 'ingest_loss_daily'}}},
    )
}}

-- The last week's days: what was lost before is known, and stays lost.
select *
from {{ ref('ingest_loss_daily') }}
where
    loss_percent > {{ var('tolerable_loss_percent') }}
    and date > {{ day_of(current_as_of('ingest_loss_daily')) }} - {{ var('loss_warning_days') }}
