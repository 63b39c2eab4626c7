-- Which figures of closed periods were restated last, from what to what, and why?
select
    restatements.restated_at,
    restatements.cause,
    restatements.mart,
    restatements.client_id,
    restatements.period,
    old_figures.figure,
    old_figures.value as old_value,
    restatements.new_values -> old_figures.figure as new_value
from {{ ref('restatements') }} as restatements
cross join lateral jsonb_each(restatements.old_values) as old_figures (figure, value)
where {{ parameter('mart') }} is null or restatements.mart = {{ parameter('mart') }}
order by
    restatements.restated_at desc,
    restatements.mart asc,
    restatements.period desc,
    restatements.client_id asc,
    old_figures.figure asc
limit {{ parameter('rows') }}
