-- Which clients are owed the most on their invoices, those that have left included?
with

-- A churned client is shown as of its last month.
balances as (
    select distinct on (client_id)
        client_id,
        month,
        outstanding_invoices_cents
    from {{ ref('analytics_monthly') }}
    order by client_id asc, month desc
),

totals as (
    select
        client_id,
        sum(invoices_sent_cents) as invoiced_cents,
        sum(payments_collected_cents) as collected_cents,
        max(date) filter (where invoices_sent_cents > 0) as last_invoice_on,
        max(date) filter (where payments_collected_cents > 0) as last_payment_on
    from {{ ref('analytics_daily') }}
    group by client_id
)

select
    balances.client_id,
    clients.name,
    balances.month as as_of_month,
    round(balances.outstanding_invoices_cents / 100.0, 2) as outstanding,
    round(totals.invoiced_cents / 100, 2) as invoiced,
    round(totals.collected_cents / 100, 2) as collected,
    round(100 * balances.outstanding_invoices_cents / nullif(totals.invoiced_cents, 0), 2)
        as outstanding_percent,
    totals.last_invoice_on,
    totals.last_payment_on
from balances
inner join totals on balances.client_id = totals.client_id
inner join {{ ref('clients') }} as clients on balances.client_id = clients.client_id
where balances.outstanding_invoices_cents > 0
order by balances.outstanding_invoices_cents desc, balances.client_id asc
