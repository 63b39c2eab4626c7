{{ config(meta={'dagster': {'ref': {'name': 'platform_analytics'}}}) }}

-- MRR by client and MRR by plan have the same sum on every day. The two marts are compared only
-- when both have the same offset: one may be built without the other.
with

plans as (
    select
        date,
        {{ to_bigint('sum(mrr_cents)') }} as mrr_cents
    from {{ ref('plan_adoption_daily') }}
    group by date
),

same_offsets as (
    select count(*) as marts
    from {{ source('warehouse', 'model_offsets') }}
    where model in ('platform_analytics', 'plan_adoption_daily')
    having min(batch_seq) = max(batch_seq) and min(as_of) = max(as_of)
)

select
    coalesce(days.date, plans.date) as date,
    days.mrr_cents as mrr_cents_of_clients,
    plans.mrr_cents as mrr_cents_of_plans
from {{ ref('platform_analytics') }} as days
full join plans on days.date = plans.date
cross join same_offsets
where coalesce(days.mrr_cents, 0) <> coalesce(plans.mrr_cents, 0)
