{{ config(meta={'dagster': {'ref': {'name': 'platform_analytics'}}}) }}

-- A day's MRR is that of the day before (0 before the first) plus its movements, each of which is
-- an amount of 0 or more. An MRR at the limit of bigint is left out.
with

days as (
    select
        *,
        coalesce(lag(mrr_cents) over (order by date), 0)::numeric as mrr_cents_yesterday
    from {{ ref('platform_analytics') }}
)

select *
from days
where
    (
        greatest(mrr_cents, mrr_cents_yesterday) < 9223372036854775807
        and mrr_cents
        <> mrr_cents_yesterday
        + new_mrr_cents
        + reactivation_mrr_cents
        + expansion_mrr_cents
        - contraction_mrr_cents
        - churned_mrr_cents
    )
    or least(
        new_mrr_cents,
        reactivation_mrr_cents,
        expansion_mrr_cents,
        contraction_mrr_cents,
        churned_mrr_cents
    ) < 0
