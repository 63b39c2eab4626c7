{{ config(meta={'dagster': {'ref': {'name': 'platform_analytics'}}}) }}

-- What moved on a day leads from the MRR of the day before, 0 before the first, to that of the day;
-- and each movement is told as an amount, not below 0. Where an MRR stops at bigint's end, nothing
-- leads to it.
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
