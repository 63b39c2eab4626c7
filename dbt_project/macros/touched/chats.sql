{#
    The chats whose feedback may have changed with these rows of int_rated_chats: all of the same
    message, because a chat that arrives late takes the feedback from the one that was first before.
#}
{% macro touched__chats_of_message(columns) -%}
    select {{ columns | join(', ') }}
    from (
        select chats.*
        from new_rows
        inner join
            {{ ref('int_chat_events') }} as chats
            on new_rows.client_id = chats.client_id and new_rows.message_id = chats.message_id
    ) as chats
{%- endmacro %}


{# All chats of these users. #}
{% macro touched__chats_of_user(columns) -%}
    select {{ columns | join(', ') }}
    from (
        select chats.*
        from new_rows
        inner join {{ ref('int_chat_events') }} as chats on new_rows.user_id = chats.user_id
    ) as chats
{%- endmacro %}


{#
    The day of a user's first chat so far, where an earlier chat has arrived: the user is no longer
    new on it.
#}
{% macro touched__former_first_days_of_users() -%}
    select known.first_on
    from (
        select user_id, min(occurred_on) as first_on from new_rows
        where user_id is not null and {{ is_increment() }}
        group by user_id
    ) as arrived
    {% if is_on_cluster() %}
    inner join (
        select chats.user_id, min(chats.occurred_on) as first_on
        from {{ ref('int_chat_events') }} as chats
        where
            chats.user_id in (select user_id from new_rows where {{ is_increment() }})
            and {{ was_visible('chats') }}
        group by chats.user_id
    ) as known on arrived.user_id = known.user_id
    {% else %}
    cross join lateral (
        select chats.occurred_on as first_on
        from {{ ref('int_chat_events') }} as chats
        where chats.user_id = arrived.user_id and {{ was_visible('chats') }}
        order by chats.occurred_on
        limit 1
    ) as known
    {% endif %}
    where known.first_on > arrived.first_on
{%- endmacro %}
