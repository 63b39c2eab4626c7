with

chats as (
    select
        *,
        created_at >= {{ current_as_of('chat_events') }} - {{ length_of_period('7d') }} as in_7d,
        created_at >= {{ current_as_of('chat_events') }} - {{ length_of_period('30d') }} as in_30d
    from {{ ref('chat_events') }}
    where document_id is not null and created_at < {{ current_as_of('chat_events') }}
),

documents as (
    select * from {{ ref('stg_documents') }}
),

asked as (
    select
        document_id,
        count(*) filter (where in_7d) as queries_7d,
        count(distinct user_id) filter (where in_7d) as users_7d,
        coalesce(sum(cost_total) filter (where in_7d), 0) as cost_7d,
        count(*) filter (where in_30d) as queries_30d,
        count(distinct user_id) filter (where in_30d) as users_30d,
        coalesce(sum(cost_total) filter (where in_30d), 0) as cost_30d,
        count(*) as queries_total,
        count(distinct user_id) as users_total,
        sum(cost_total) as cost_total,
        round(avg(user_feedback_rating), 2) as avg_rating,
        {{ mean_response_time_ms() }} as avg_response_time_ms,
        max(created_at) as last_accessed_at,
        max(updated_at) as updated_at
    from chats
    group by document_id
)

select
    asked.document_id,
    documents.city,
    documents.zoning,
    documents."zone",
    asked.queries_7d,
    asked.users_7d,
    asked.cost_7d,
    asked.queries_30d,
    asked.users_30d,
    asked.cost_30d,
    asked.queries_total,
    asked.users_total,
    asked.cost_total,
    asked.avg_rating,
    asked.avg_response_time_ms,
    asked.last_accessed_at,
    asked.updated_at
from asked
left join documents on asked.document_id = documents.document_id
