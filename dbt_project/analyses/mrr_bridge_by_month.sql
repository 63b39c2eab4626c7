-- What moved the monthly recurring revenue from each month's opening to its closing?
-- Opening is the closing of the month before, so `unexplained` is 0 where the movements add up.
with

months as (
    select
        to_char(date, 'YYYY-MM') as month,
        sum(new_mrr_cents) as new_cents,
        sum(reactivation_mrr_cents) as reactivation_cents,
        sum(expansion_mrr_cents) as expansion_cents,
        sum(contraction_mrr_cents) as contraction_cents,
        sum(churned_mrr_cents) as churned_cents,
        (array_agg(mrr_cents order by date desc))[1] as closing_cents
    from {{ ref('platform_analytics') }}
    group by to_char(date, 'YYYY-MM')
),

bridges as (
    select
        *,
        lag(closing_cents, 1, 0::bigint) over (order by month) as opening_cents
    from months
)

select
    month,
    {{ has_ended('month', "to_date(month, 'YYYY-MM')", 'platform_analytics') }} as is_complete,
    round(opening_cents / 100.0, 2) as opening,
    round(new_cents / 100, 2) as new,
    round(reactivation_cents / 100, 2) as reactivation,
    round(expansion_cents / 100, 2) as expansion,
    round(-contraction_cents / 100, 2) as contraction,
    round(-churned_cents / 100, 2) as churned,
    round(closing_cents / 100.0, 2) as closing,
    round(
        (
            closing_cents - opening_cents - new_cents - reactivation_cents - expansion_cents
            + contraction_cents + churned_cents
        ) / 100, 2
    ) as unexplained
from bridges
order by month
