{{ config(meta={'dagster': {'ref': {'name': 'int_platform_stats'}}}) }}

-- The all-time counts that the site shows are the sum of all days.
with

days as (
    select
        coalesce(sum(chats), 0) as chats,
        coalesce(sum(pdf_downloads), 0) as pdf_downloads
    from {{ ref('int_platform_activity_daily') }}
)

select stats.*
from {{ ref('int_platform_stats') }} as stats
cross join days
where stats.questions_answered <> days.chats or stats.pdf_downloads <> days.pdf_downloads
