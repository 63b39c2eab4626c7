{# The tracking plan limits the length of neither endpoint nor method: their hashes are indexed. #}
{{ config(indexes=[{'columns': ['hour', hashed('endpoint'), hashed('method')], 'unique': true}]) }}

with

calls as (
    select * from {{ ref('int_api_request_events') }}
    where
        {{ is_visible() }}
        and {{ in_touched('occurred_hour', 'hour') }}
        and {{ in_touched_cells(['endpoint', 'method', 'occurred_hour']) }}
),

performance as (
    select
        endpoint,
        method,
        occurred_hour as hour,
        {{ call_measures() }},
        now() as updated_at
    from calls
    group by endpoint, method, occurred_hour
)

select * from performance
