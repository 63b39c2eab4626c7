with

raw_events as (
    select
        *,
        context -> 'page' as page,
        context -> 'campaign' as campaign
    from {{ source('staging', 'raw_events') }}
    where event = 'page_view'
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

parsed as (
    select
        raw_events.client_id,
        raw_events.event_id,
        batches.batch_seq,

        coalesce(
            nullif(raw_events.actor ->> 'user_id', ''),
            nullif(raw_events.actor ->> 'anonymous_id', ''),
            encode(raw_events.visitor_hash, 'hex')
        ) as visitor_id,
        nullif(raw_events.context ->> 'session_id', '') as session_id,

        raw_events.is_bot,
        raw_events.page ->> 'path' as path,
        {{ host_of("raw_events.page ->> 'referrer'") }} as referrer_host,
        {{ host_of("raw_events.page ->> 'url'") }} as own_host,
        raw_events.campaign ->> 'source' as campaign_source,
        raw_events.campaign ->> 'medium' as campaign_medium,
        raw_events.campaign ->> 'name' as campaign_name,
        null::text as country,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
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
