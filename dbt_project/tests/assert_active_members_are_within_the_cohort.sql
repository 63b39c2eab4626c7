{{ config(meta={'dagster': {'ref': {'name': 'cohort_retention'}}}) }}

-- A cohort never grows: all who are active in a later month are members of it.
select *
from {{ ref('cohort_retention') }}
where active < 0 or active > cohort_size
