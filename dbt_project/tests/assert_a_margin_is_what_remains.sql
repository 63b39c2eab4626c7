{{ config(meta={'dagster': {'ref': {'name': 'unit_economics_monthly'}}}) }}

-- What a client brings, less all that it costs: to the cent, with costs in USD rounded together.
select *
from {{ ref('unit_economics_monthly') }}
where
    margin_cents
    <> {{ to_bigint(
        'mrr_cents - api_cost_cents - round(100 * (ai_cost_usd + credits_cost_usd))'
    ) }}
