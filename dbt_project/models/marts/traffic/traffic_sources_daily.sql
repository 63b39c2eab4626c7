{{
    config(
        meta={
            'cells': ['client_id', 'date'],
            'touched_by': {
                'sessions': "
                    select client_id, {{ day_of('occurred_at') }}
                    from {{ moments_of_sessions('started_at') }}
                ",
            },
            'window_on': 'date',
        },
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

-- depends_on: {{ ref('int_page_view_events') }}
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
