{# The tracking plan does not limit the length of a source: hashes are indexed. #}
{{
    config(
        indexes=[
            {
                'columns': [
                    'client_id', 'date', hashed('source'), hashed('medium'), hashed('campaign')
                ],
                'unique': true,
            },
            {'columns': ['date']},
        ],
    )
}}

with

sessions as (
    select * from {{ ref('sessions') }}
    where {{ in_touched_cells(['client_id', 'started_on']) }}
),

sources as (
    select
        client_id,
        started_on as date,
        source,
        medium,
        campaign,
        count(*) as sessions,
        count(distinct visitor_id) as visitors,
        sum(page_views)::bigint as page_views,
        count(*) filter (where converted) as conversions,
        {{ pct2('count(*) filter (where converted)', 'count(*)') }} as conversion_rate,
        now() as updated_at
    from sessions
    group by client_id, started_on, source, medium, campaign
)

select * from sources
