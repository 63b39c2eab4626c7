-- Which model answers which kind of question well?
select
    coalesce(model_name, 'unknown') as model,
    coalesce(query_intent, 'unknown') as intent,
    count(*) as chats,
    count(user_feedback_rating) as rated,
    round(avg(user_feedback_rating), 2) as mean_rating,
    round(100 * avg(error_occurred::integer), 2) as error_percent
from {{ ref('chat_events') }}
group by model, intent
order by chats desc
