with

chats as (
    select * from {{ ref('int_chat_events') }}
    where
        {{ is_visible() }}
        and {{ in_touched('occurred_on', 'date') }}
        and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

credits as (
    select * from {{ ref('int_credit_events') }}
    where
        {{ is_visible() }}
        and {{ in_touched('occurred_on', 'date') }}
        and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

costs as (
    select
        client_id,
        occurred_on,
        coalesce(cost_prompt, 0) + coalesce(cost_completion, 0) + coalesce(cost_cached, 0)
            as ai_cost_usd,
        0 as credits_cost_usd
    from chats
    union all
    select
        client_id,
        occurred_on,
        0 as ai_cost_usd,
        coalesce(cost_usd, 0) as credits_cost_usd
    from credits
),

days as (
    select
        client_id,
        occurred_on as date,
        sum(ai_cost_usd) as ai_cost_usd,
        sum(credits_cost_usd) as credits_cost_usd,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from costs
    group by client_id, occurred_on
)

select * from days
