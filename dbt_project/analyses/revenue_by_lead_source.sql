-- Which sources bring the leads that bring the money?
-- Leads without a `lead_created` have no source: their revenue is not included.
select
    source,
    sum(leads) as leads,
    sum(conversions) as won_leads,
    round(100 * sum(conversions) / sum(leads), 2) as won_percent,
    round(sum(revenue_cents) / 100, 2) as revenue,
    round(sum(revenue_cents) / sum(leads) / 100, 2) as revenue_per_lead,
    round(100 * sum(revenue_cents) / nullif(sum(sum(revenue_cents)) over (), 0), 2)
        as revenue_percent
from {{ ref('lead_sources') }}
group by source
order by revenue desc, source asc
