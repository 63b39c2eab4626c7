{# The tracking plan limits the length of neither endpoint nor method: their hashes are indexed. #}
{{ config(indexes=[{'columns': ['date', hashed('endpoint'), hashed('method')], 'unique': true}]) }}

with

calls as (
    select * from {{ ref('int_api_request_events') }}
    where
        {{ is_visible() }}
        and {{ in_touched('occurred_on', 'date') }}
        and {{ in_touched_cells(['endpoint', 'method', 'occurred_on']) }}
),

performance as (
    select
        endpoint,
        method,
        occurred_on as date,
        {{ call_measures() }},
        now() as updated_at
    from calls
    group by endpoint, method, occurred_on
)

select * from performance
