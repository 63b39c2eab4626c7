{{ config(meta={'dagster': {'ref': {'name': 'cohort_retention'}}}) }}

-- A cohort is never larger than when it came: whoever is active in a later month is one of it.
select *
from {{ ref('cohort_retention') }}
where active < 0 or active > cohort_size
