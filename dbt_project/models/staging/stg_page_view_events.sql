with

raw_events as (
    select
        *,
        context -> 'page' as page,
        context -> 'campaign' as campaign
    from {{ landed_events(['page_view']) }}
),

parsed as (
    select
        client_id,
        event_id,
        batch_seq,

        coalesce(
            nullif(actor ->> 'user_id', ''),
            nullif(actor ->> 'anonymous_id', ''),
            encode(visitor_hash, 'hex')
        ) as visitor_id,
        nullif(context ->> 'session_id', '') as session_id,

        is_bot,
        page ->> 'path' as path,
        {{ host_of("page ->> 'referrer'") }} as referrer_host,
        {{ host_of("page ->> 'url'") }} as own_host,
        nullif(campaign ->> 'source', '') as campaign_source,
        nullif(campaign ->> 'medium', '') as campaign_medium,
        nullif(campaign ->> 'name', '') as campaign_name,
        country,

        occurred_at,
        occurred_on
    from raw_events
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        visitor_id,
        session_id,
        case
            when session_id is not null then session_id
            when visitor_id is not null
                then {{ cut_session_id('client_id', 'visitor_id', 'occurred_at') }}
        end as session_key,

        is_bot,
        path,
        nullif(referrer_host, own_host) as referrer_host,
        campaign_source,
        campaign_medium,
        campaign_name,
        country,

        occurred_at,
        occurred_on
    from parsed
)

select * from typed
