{# A user is new on the day of the first chat ever. #}
with

chats as (
    select * from {{ ref('chat_events') }}
    where created_at < {{ as_of() }} and {{ in_touched_cells(['created_on']) }}
),

users_of_days as (
    select
        created_on,
        user_id
    from chats
    where user_id is not null
    group by created_on, user_id
),

{% if is_on_cluster() %}
first_days_of_users as (
    select
        user_id,
        min(created_on) as created_on
    from {{ ref('chat_events') }}
    where user_id in (select users_of_days.user_id from users_of_days)
    group by user_id
),

new_users_of_days as (
    select
        users_of_days.created_on,
        count(*) as new_users
    from users_of_days
    inner join
        first_days_of_users
        on
            users_of_days.user_id = first_days_of_users.user_id
            and users_of_days.created_on = first_days_of_users.created_on
    group by users_of_days.created_on
),
{% else %}
-- One look-up by the index each, however long the user's history is.
new_users_of_days as (
    select
        users_of_days.created_on,
        count(*) as new_users
    from users_of_days
    where
        not exists (
            select 1
            from {{ ref('chat_events') }} as earlier
            where
                coalesce(earlier.user_id, 'none') = users_of_days.user_id
                and earlier.user_id is not null
                and earlier.created_on < users_of_days.created_on
        )
    group by users_of_days.created_on
),
{% endif %}

messages_of_models as (
    select
        created_on,
        coalesce(model_name, 'unknown') as model,
        count(*) as messages
    from chats
    group by created_on, coalesce(model_name, 'unknown')
),

ranked_models as (
    select
        *,
        row_number() over (
            partition by created_on order by messages desc, model collate "C" asc
        ) as place
    from messages_of_models
),

named_models as (
    select
        created_on,
        case when place <= {{ var('models_by_name') }} then model else 'other' end as model,
        sum(messages) as messages
    from ranked_models
    group by created_on, case when place <= {{ var('models_by_name') }} then model else 'other' end
),

models_of_days as (
    select
        created_on,
        jsonb_object_agg(model, messages) as model_distribution
    from named_models
    group by created_on
),

days as (
    select
        created_on,
        count(distinct user_id) as active_users,
        count(*) as total_messages,
        {{ count_conversations() }} as total_conversations,
        count(distinct document_id) as total_documents_accessed,
        sum(tokens_total) as tokens_total,
        sum(tokens_cached)::numeric as tokens_cached,
        {{ pct2('count(*) filter (where cache_hit)', 'count(*)') }} as cache_hit_rate,
        sum(cost_total) as cost_total,
        {{ rounded_ratio('sum(cost_total)', 'count(*)', 6) }} as cost_per_message,
        sum(cost_saved) as cost_saved_by_cache,
        {{ mean_response_time_ms() }} as avg_response_time_ms,
        {{ percentile_ms(0.95) }} as p95_response_time_ms,
        count(*) filter (where error_occurred) as error_count,
        {{ pct2('count(*) filter (where error_occurred)', 'count(*)') }} as error_rate,
        round(avg(user_feedback_rating), 2) as avg_feedback_rating
    from chats
    group by created_on
),

measured as (
    select
        days.created_on as date,
        days.active_users,
        coalesce(new_users_of_days.new_users, 0) as new_users,
        days.total_messages,
        days.total_conversations,
        days.total_documents_accessed,
        days.tokens_total,
        days.tokens_cached,
        days.cache_hit_rate,
        days.cost_total,
        days.cost_per_message,
        days.cost_saved_by_cache,
        days.avg_response_time_ms,
        days.p95_response_time_ms,
        days.error_count,
        days.error_rate,
        days.avg_feedback_rating,
        models_of_days.model_distribution,
        now() as updated_at
    from days
    inner join models_of_days on days.created_on = models_of_days.created_on
    left join new_users_of_days on days.created_on = new_users_of_days.created_on
)

select * from measured
