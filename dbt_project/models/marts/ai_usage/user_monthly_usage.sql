with

touched as (
    select
        *,
        make_date(year, month, 1) as month_start
    from {{ touched_table() }}
),

users as (
    select * from {{ ref('stg_users') }}
    where created_at < {{ as_of() }}
),

chats as (
    select
        chats.*,
        touched.user_id as user_key,
        touched.year,
        touched.month
    from touched
    inner join
        {{ ref('chat_events') }} as chats
        on
            touched.user_id = coalesce(chats.user_id, 'none')
            and touched.month_start <= chats.created_on
            and touched.month_start + interval '1 month' > chats.created_on
    where chats.created_at < {{ as_of() }}
),

running as (
    select
        chats.*,
        users.monthly_message_limit,
        users.monthly_token_limit,
        users.monthly_cost_limit,
        count(*) over so_far as messages_so_far,
        sum(chats.tokens_total) over so_far as tokens_so_far,
        sum(chats.cost_total) over so_far as cost_so_far
    from chats
    -- `none` stands for all unknown users, also if events or an entity use that name: it has no
    -- limits.
    left join users on chats.user_key = users.user_id and users.user_id <> 'none'
    window so_far as (
        partition by chats.user_key, chats.year, chats.month
        order by chats.created_at, chats.event_id, chats.client_id
        rows unbounded preceding
    )
),

months as (
    select
        user_key as user_id,
        year,
        month,
        to_char(make_date(year, month, 1), 'YYYY-MM') as year_month,
        {{ chat_measures() }},
        count(distinct created_on) as active_days,
        max(created_at) as last_activity_at,
        monthly_message_limit,
        monthly_token_limit,
        monthly_cost_limit,
        {{ first_time_at_share(var('approaching_share')) }} as limit_approached_at,
        {{ first_time_at_share(1) }} as limit_reached_at
    from running
    group by
        user_key, year, month, monthly_message_limit, monthly_token_limit, monthly_cost_limit
),

measured as (
    select
        *,
        {{ pct2('cache_hit_count', 'message_count') }} as cache_hit_rate,
        {{ pct2('error_count', 'message_count') }} as error_rate,
        limit_reached_at is not null as limit_reached,
        {{ has_used(var('approaching_share')) }} as notified_80_percent,
        {{ has_used(1) }} as notified_100_percent,
        {{ has_ended('month', 'make_date(year, month, 1)') }} as is_complete,
        now() as updated_at
    from months
)

select * from measured
