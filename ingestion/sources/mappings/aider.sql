-- Product analytics of the command-line tool aider, one JSON object per line:
-- event, properties, user_id, time (epoch seconds).
--
-- message_send and message_send_exception are chats (the latter with error_occurred); launched,
-- gui session and cli session are sessions; anything else is a builder_action. All properties are
-- kept; properties of the plan override others with the same name, and a null cost is absent.
-- `action` is aider's own name of the event, on chats and sessions as well: without it, two different
-- events of the same second could be equal.
-- A line without user_id gets the anonymous_id 'unknown', because a session requires an id.
--
-- There is no event id: it is derived from the whole envelope, so equal lines are one event.

with

lines as (
    select * from read_json(
        getvariable('source'),
        format = 'newline_delimited',
        columns = {event: 'varchar', properties: 'json', user_id: 'varchar', "time": 'bigint'}
    )
),

named as (
    select
        event as action,
        case
            when event in ('message_send', 'message_send_exception') then 'chat'
            when event in ('launched', 'gui session', 'cli session') then 'session'
            else 'builder_action'
        end as event,
        user_id,
        properties,
        make_timestamp(1000000 * "time") as happened_at
    from lines
),

chats as (
    select
        *,
        if(event = 'chat', json_object(
            'model_name', properties -> 'main_model',
            'tokens_prompt', properties -> 'prompt_tokens',
            'tokens_completion', properties -> 'completion_tokens',
            'cost_prompt', properties -> 'cost',
            'error_occurred', if(action = 'message_send_exception', true, null)
        ), '{}') as planned
    from named
)

select
    event,
    replace(cast(happened_at as varchar), ' ', 'T') || 'Z' as "timestamp",
    json_object(
        'client_id', 'aider',
        if(user_id is null, 'anonymous_id', 'user_id'), coalesce(user_id, 'unknown')
    ) as actor,
    {source: 'api'} as context,
    json_merge_patch(properties, planned, json_object('action', action)) as properties
from chats
