{{ config(meta={'dagster': {'ref': {'name': 'int_platform_stats'}}}) }}

-- The site shows one row: none would be a hole in the page, two a contradiction.
select count(*) as row_count
from {{ ref('int_platform_stats') }}
having count(*) <> 1
