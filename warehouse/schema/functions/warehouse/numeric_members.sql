-- The members that the contract declares as numbers: these are measurements and never identifiers. A
-- test compares the list with the tracking plan and the entities.
create or replace function warehouse.numeric_members() returns text[]
language sql immutable parallel safe as $$
    select array[
        'ai_response_length', 'amount_usd', 'cost_cached', 'cost_cents', 'cost_completion',
        'cost_prompt', 'cost_usd', 'credits_used', 'dropped', 'intermediate_steps', 'metric_value',
        'monthly_cost_limit', 'monthly_message_limit', 'monthly_token_limit', 'mrr_cents',
        'rating', 'response_time_ms', 'response_time_seconds', 'sequence', 'status_code',
        'tokens_cached', 'tokens_completion', 'tokens_prompt', 'user_query_length',
        'value_cents'
    ]
$$;
