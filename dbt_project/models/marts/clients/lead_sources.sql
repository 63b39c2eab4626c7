{# A lead counts in the month of its earliest lead_created. #}
with

touched as (
    select
        client_id,
        month,
        to_date(month, 'YYYY-MM') as month_start
    from {{ touched_table() }}
    where {{ is_client() }}
),

leads as (
    select * from {{ ref('lead_funnel') }}
    where {{ in_touched_span('lead_created_at', "to_date(month, 'YYYY-MM')") }}
),

sources as (
    select
        touched.client_id,
        touched.month,
        coalesce(leads.source, 'other') as source,
        count(*) as leads,
        count(leads.job_won_at) as conversions,
        {{ to_bigint('sum(leads.won_value_cents)') }} as revenue_cents,
        {{ pct('count(leads.job_won_at)', 'count(*)') }} as conversion_rate,
        {{ has_ended('month', 'touched.month_start') }} as is_complete,
        now() as updated_at
    from touched
    inner join
        leads
        on
            touched.client_id = leads.client_id
            and touched.month_start::timestamp at time zone 'utc' <= leads.lead_created_at
            and (touched.month_start + interval '1 month') at time zone 'utc'
            > leads.lead_created_at
    group by
        touched.client_id, touched.month, touched.month_start, coalesce(leads.source, 'other')
)

select * from sources
