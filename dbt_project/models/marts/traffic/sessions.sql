with recursive

-- `not materialized`: looked up by its indexes, once per row.
all_views as not materialized (
    select * from {{ ref('int_page_view_events') }}
    where {{ is_of_visitor() }} and {{ is_visible() }}
),

conversions as not materialized (
    select * from {{ ref('int_conversion_events') }}
    where not is_bot and {{ is_visible() }}
),

views as (
    select * from all_views
    where {{ in_touched_cells(['client_id', 'session_key', 'session_id is null']) }}
),

visitors_views as (
    select
        *,
        lag(occurred_at) over (
            partition by client_id, visitor_id order by occurred_at
        ) as view_before_at
    from views
    where session_id is null
),

numbered_views as (
    select
        *,
        count(*) filter (
            where view_before_at is null or occurred_at - view_before_at >= {{ session_gap() }}
        ) over (partition by client_id, visitor_id order by occurred_at) as run
    from visitors_views
),

-- Views without a gap between them.
runs as (
    select
        client_id,
        visitor_id,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at
    from numbered_views
    group by client_id, visitor_id, run
),

starts as (
    select
        client_id,
        visitor_id,
        started_at,
        ended_at as run_ended_at
    from runs
    union all
    -- A run that is longer than the longest session continues in the next one.
    select
        starts.client_id,
        starts.visitor_id,
        next_views.occurred_at as started_at,
        starts.run_ended_at
    from starts
    inner join lateral (
        select all_views.occurred_at from all_views
        where
            all_views.client_id = starts.client_id
            and all_views.visitor_id = starts.visitor_id
            and all_views.session_id is null
            and all_views.occurred_at >= starts.started_at + {{ longest_session() }}
            and all_views.occurred_at <= starts.run_ended_at
        order by all_views.occurred_at
        limit 1
    ) as next_views on true
    where starts.run_ended_at >= starts.started_at + {{ longest_session() }}
),

started_views as (
    select
        visitors_views.*,
        max(starts.started_at) over (
            partition by visitors_views.client_id, visitors_views.visitor_id
            order by visitors_views.occurred_at
        ) as session_started_at
    from visitors_views
    left join
        starts
        on
            visitors_views.client_id = starts.client_id
            and visitors_views.visitor_id = starts.visitor_id
            and visitors_views.occurred_at = starts.started_at
),

views_of_sessions as (
    select
        client_id,
        session_key as session_id,
        false as is_cut,
        event_id,
        visitor_id,
        path,
        referrer_host,
        campaign_source,
        campaign_medium,
        campaign_name,
        occurred_at
    from views
    where session_id is not null
    union all
    select
        client_id,
        first_value(session_key) over (
            partition by client_id, visitor_id, session_started_at order by occurred_at
        ) as session_id,
        true as is_cut,
        event_id,
        visitor_id,
        path,
        referrer_host,
        campaign_source,
        campaign_medium,
        campaign_name,
        occurred_at
    from started_views
),

ordered_views as (
    select
        *,
        row_number() over in_order = 1 as is_first,
        lead(event_id) over in_order is null as is_last
    from views_of_sessions
    window in_order as (
        partition by client_id, session_id, is_cut order by occurred_at, event_id
    )
),

measured as (
    select
        client_id,
        session_id,
        is_cut,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        count(*) as page_views,
        max(visitor_id) filter (where is_first) as visitor_id,
        max(path) filter (where is_first) as entry_path,
        max(path) filter (where is_last) as exit_path,
        max(referrer_host) filter (where is_first) as referrer_host,
        max(campaign_source) filter (where is_first) as campaign_source,
        max(campaign_medium) filter (where is_first) as campaign_medium,
        max(campaign_name) filter (where is_first) as campaign_name
    from ordered_views
    group by client_id, session_id, is_cut
),

hosts as (
    select referrer_host from measured
    where campaign_source is null
    group by referrer_host
),

sites as (
    select
        hosts.referrer_host,
        named.site,
        named.medium
    from hosts
    cross join lateral (
        select
            known.site,
            known.medium
        from {{ ref('referrer_sites') }} as known
        where hosts.referrer_host ~ known.host_pattern
        order by known.priority
        limit 1
    ) as named
),

sourced as (
    select
        measured.client_id,
        measured.session_id,
        measured.is_cut,
        measured.visitor_id,

        measured.started_at,
        measured.ended_at,
        {{ day_of('measured.started_at') }} as started_on,
        {{ day_of('measured.ended_at') }} as ended_on,
        round(extract(epoch from measured.ended_at - measured.started_at))::bigint
            as duration_seconds,

        measured.page_views,
        measured.entry_path,
        measured.exit_path,

        coalesce(
            measured.campaign_source, sites.site, measured.referrer_host, 'direct'
        ) as source,
        case
            when measured.campaign_source is not null
                then coalesce(measured.campaign_medium, 'none')
            when measured.referrer_host is null then 'none'
            else coalesce(sites.medium, 'referral')
        end as medium,
        case
            when measured.campaign_source is not null
                then coalesce(measured.campaign_name, 'none')
            else 'none'
        end as campaign,

        measured.page_views = 1 as is_bounce,
        coalesce(by_id.is_found, by_visitor.is_found, false) as converted,

        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from measured
    left join sites on measured.referrer_host = sites.referrer_host
    left join lateral (
        select true as is_found from conversions
        where
            not measured.is_cut
            and conversions.client_id = measured.client_id
            and conversions.session_id = measured.session_id
        order by conversions.occurred_at
        limit 1
    ) as by_id on true
    left join lateral (
        select true as is_found from conversions
        where
            conversions.client_id = measured.client_id
            and conversions.visitor_id = measured.visitor_id
            and conversions.session_id is null
            and conversions.occurred_at >= measured.started_at
            and conversions.occurred_at < measured.ended_at + {{ session_gap() }}
        order by conversions.occurred_at
        limit 1
    ) as by_visitor on true
)

select * from sourced
