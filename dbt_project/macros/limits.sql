{# Whether a month's usage has reached this share of any limit. #}
{% macro has_used(share) -%}
    coalesce(message_count >= {{ share }} * monthly_message_limit, false)
    or coalesce(tokens_total >= {{ share }} * monthly_token_limit, false)
    or coalesce(cost_total >= {{ share }} * monthly_cost_limit, false)
{%- endmacro %}
