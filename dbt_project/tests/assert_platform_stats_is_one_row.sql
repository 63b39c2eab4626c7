{{ config(meta={'dagster': {'ref': {'name': 'int_platform_stats'}}}) }}

-- The site shows exactly one row.
select count(*) as row_count
from {{ ref('int_platform_stats') }}
having count(*) <> 1
