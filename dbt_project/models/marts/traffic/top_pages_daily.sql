{# The tracking plan does not limit the length of a path: its hash is indexed. #}
{{
    config(
        indexes=[
            {'columns': ['client_id', 'date', hashed('path')], 'unique': true},
            {'columns': ['date']},
        ],
    )
}}

with

views as (
    select * from {{ ref('int_page_view_events') }}
    where
        {{ is_of_visitor() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

entered as (
    select
        client_id,
        started_on,
        entry_path,
        count(*) as entries
    from {{ ref('sessions') }}
    where {{ in_touched_cells(['client_id', 'started_on']) }}
    group by client_id, started_on, entry_path
),

exited as (
    select
        client_id,
        ended_on,
        exit_path,
        count(*) as exits
    from {{ ref('sessions') }}
    where {{ in_touched_cells(['client_id', 'ended_on']) }}
    group by client_id, ended_on, exit_path
),

viewed as (
    select
        client_id,
        occurred_on,
        path,
        {{ view_measures() }}
    from views
    group by client_id, occurred_on, path
),

pages as (
    select
        viewed.client_id,
        viewed.occurred_on as date,
        viewed.path,
        viewed.page_views,
        viewed.unique_visitors,
        coalesce(entered.entries, 0) as entries,
        coalesce(exited.exits, 0) as exits,
        now() as updated_at
    from viewed
    left join
        entered
        on
            viewed.client_id = entered.client_id
            and viewed.occurred_on = entered.started_on
            and viewed.path = entered.entry_path
    left join
        exited
        on
            viewed.client_id = exited.client_id
            and viewed.occurred_on = exited.ended_on
            and viewed.path = exited.exit_path
)

select * from pages
