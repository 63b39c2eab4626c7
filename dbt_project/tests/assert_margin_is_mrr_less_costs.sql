{{ config(meta={'dagster': {'ref': {'name': 'unit_economics_monthly'}}}) }}

-- A client's margin is its MRR less all its costs, to the cent; costs in USD are rounded together.
select *
from {{ ref('unit_economics_monthly') }}
where
    margin_cents
    <> {{ to_bigint(
        'mrr_cents - api_cost_cents - round(100 * (ai_cost_usd + credits_cost_usd))'
    ) }}
