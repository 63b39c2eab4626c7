-- How was each client's last full week, against the week before it?
select
    this_week.client_id,
    clients.name,
    this_week.week_start,
    this_week.new_leads,
    previous_week.new_leads as previous_new_leads,
    this_week.leads_change_percent,
    round(this_week.revenue_attributed_cents / 100.0, 2) as revenue,
    round(previous_week.revenue_attributed_cents / 100.0, 2) as previous_revenue,
    this_week.revenue_change_percent,
    this_week.response_within_five_min as within_five_min_percent,
    previous_week.response_within_five_min as previous_within_five_min_percent
from {{ ref('analytics_weekly') }} as this_week
inner join {{ ref('clients') }} as clients on this_week.client_id = clients.client_id
left join
    {{ ref('analytics_weekly') }} as previous_week
    on
        this_week.client_id = previous_week.client_id
        and this_week.week_start - 7 = previous_week.week_start
where
    this_week.week_start
    = date_trunc('week', {{ current_as_of('analytics_weekly') }} at time zone 'utc')::date - 7
    and ({{ parameter('client_id') }} is null or this_week.client_id = {{ parameter('client_id') }})
order by this_week.revenue_attributed_cents desc, this_week.client_id asc
