with

chats as (
    select
        *,
        coalesce(document_id, 'none') as document_key
    from {{ ref('chat_events') }}
    where
        created_at < {{ as_of() }}
        and {{ in_touched_cells(["coalesce(document_id, 'none')", 'created_on']) }}
),

references_to_sections as (
    select
        chats.document_key,
        chats.created_on,
        section.name
    from chats
    cross join lateral jsonb_array_elements_text(chats.sections_referenced) as section (name)
),

counted_sections as (
    select
        document_key,
        created_on,
        name,
        count(*) as times,
        row_number() over (
            partition by document_key, created_on order by count(*) desc, name collate "C"
        ) as place
    from references_to_sections
    group by document_key, created_on, name
),

top_sections as (
    select
        document_key,
        created_on,
        jsonb_agg(jsonb_build_object('section', name, 'count', times) order by place) as sections
    from counted_sections
    where place <= {{ var('top_sections') }}
    group by document_key, created_on
),

days as (
    select
        document_key,
        created_on,
        count(*) as query_count,
        count(distinct user_id) as unique_users,
        {{ count_conversations() }} as conversation_count,
        sum(tokens_total) as tokens_total,
        round(avg(tokens_total))::bigint as avg_tokens_per_query,
        sum(cost_total) as cost_total,
        {{ mean_response_time_ms() }} as avg_response_time_ms,
        {{ pct2('count(*) filter (where cache_hit)', 'count(*)') }} as cache_hit_rate,
        round(avg(user_feedback_rating), 2) as avg_feedback_rating,
        count(user_feedback_rating) as feedback_count,
        count(*) filter (where error_occurred) as error_count
    from chats
    group by document_key, created_on
),

with_sections as (
    select
        days.document_key as document_id,
        days.created_on as date,
        days.query_count,
        days.unique_users,
        days.conversation_count,
        days.tokens_total,
        days.avg_tokens_per_query,
        days.cost_total,
        days.avg_response_time_ms,
        days.cache_hit_rate,
        days.avg_feedback_rating,
        days.feedback_count,
        days.error_count,
        coalesce(top_sections.sections, '[]') as top_sections,
        now() as updated_at
    from days
    left join
        top_sections
        on
            days.document_key = top_sections.document_key
            and days.created_on = top_sections.created_on
)

select * from with_sections
