with

marts as (
    select
        mart,
        model
    from {{ marts_and_models() }} as listed (mart, model)
),

offsets as (
    select
        offsets.model,
        offsets.batch_seq,
        offsets.row_count,
        offsets.as_of = 'infinity' as is_fact,
        case when offsets.as_of < 'infinity' then offsets.as_of else last_read.as_of end as as_of
    from {{ source('warehouse', 'model_offsets') }} as offsets
    -- A fact has no as_of. It is as fresh as the last build that let it read its unread input, even
    -- if the build failed later, or that found no unread input.
    left join lateral (
        select builds.as_of
        from {{ source('warehouse', 'builds') }} as builds
        where
            builds.window_start is null
            and (builds.models is null or offsets.model = any(builds.models))
            and (builds.state = 'done' or builds.started_at <= offsets.moved_at)
        order by builds.started_at desc
        limit 1
    ) as last_read on offsets.as_of = 'infinity'
),

latest_checks as (
    select distinct on (check_name)
        -- Checks name a model with or without its schema.
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

-- A view is as fresh as the oldest of the models that it reads.
built as (
    select
        marts.mart,
        min(offsets.as_of) as built_as_of,
        min(offsets.batch_seq) as batch_seq,
        max(offsets.row_count) filter (where marts.mart = offsets.model) as row_count,
        min(verifications.verified_at) as verified_at,
        sum(verifications.verified_cells)::bigint as verified_cells,
        bool_and(offsets.is_fact or verifications.model is not null) as is_verified
    from marts
    left join offsets on marts.model = offsets.model
    left join {{ source('warehouse', 'verifications') }} as verifications
        on marts.model = verifications.model
    group by marts.mart
),

statuses as (
    select
        built.mart,
        built.built_as_of,
        built.batch_seq,
        built.row_count,
        coalesce(
            checked.last_check_status,
            case when tested.model is null then 'constraints only' end
        ) as last_check_status,
        checked.last_check_at,
        extract(epoch from now() - built.built_as_of)::bigint as freshness_seconds,
        -- Of a view: since when all models that it reads are verified, typed facts aside.
        case when built.is_verified then built.verified_at end as verified_at,
        case when built.is_verified then built.verified_cells end as verified_cells
    from built
    left join checked on built.mart = checked.mart
    left join {{ models_with_tests() }} as tested (model) on built.mart = tested.model
)

select * from statuses
