with

views as (
    select
        *,
        coalesce(country, 'none') as country_key
    from {{ ref('int_page_view_events') }}
    where
        {{ is_of_visitor() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

countries as (
    select
        client_id,
        occurred_on as date,
        country_key as country,
        {{ view_measures() }},
        now() as updated_at
    from views
    group by client_id, occurred_on, country_key
)

select * from countries
