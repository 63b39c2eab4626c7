{{ config(materialized='view') }}

with

marts as (
    select
        mart,
        model
    from {{ marts_and_models() }} as listed (mart, model)
),

offsets as (
    select
        model,
        batch_seq,
        row_count,
        -- A fact looks from nowhere: who reads it looks from where the last build did.
        case when as_of < 'infinity' then as_of else {{ last_as_of() }} end as as_of
    from {{ source('warehouse', 'model_offsets') }}
),

latest_checks as (
    select distinct on (check_name)
        -- Checks name a model alone or with its schema.
        regexp_replace(model, '^.*\.', '') as mart,
        severity,
        passed,
        checked_at
    from {{ source('warehouse', 'check_results') }}
    order by check_name asc, checked_at desc
),

checked as (
    select
        mart,
        case
            when bool_or(severity = 'error' and not passed) then 'failed'
            when bool_or(not passed) then 'warned'
            else 'passed'
        end as last_check_status,
        max(checked_at) as last_check_at
    from latest_checks
    group by mart
),

-- A view stands where the last of the models that it reads stands.
built as (
    select
        marts.mart,
        min(offsets.as_of) as built_as_of,
        min(offsets.batch_seq) as batch_seq,
        max(offsets.row_count) filter (where marts.mart = offsets.model) as row_count
    from marts
    left join offsets on marts.model = offsets.model
    group by marts.mart
),

statuses as (
    select
        built.mart,
        built.built_as_of,
        built.batch_seq,
        built.row_count,
        checked.last_check_status,
        checked.last_check_at,
        extract(epoch from now() - built.built_as_of)::bigint as freshness_seconds
    from built
    left join checked on built.mart = checked.mart
)

select * from statuses
