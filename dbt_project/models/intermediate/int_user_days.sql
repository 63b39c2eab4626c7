{#
    An event is news of its user's day only where it is the first, a payment where it is the first
    that converts: so that a day that is known already is left alone by all others.
#}
{{
    config(
        meta={
            'cells': ['user_id', 'date'],
            'touched_by': {
                'int_actor_days': "
                    select new_rows.user_id, new_rows.occurred_on from new_rows
                    {% if load_cached_relation(this) is not none %}
                    left join {{ this }} as known
                        on new_rows.user_id = known.user_id and new_rows.occurred_on = known.date
                    {% endif %}
                    where
                        new_rows.user_id is not null
                        {% if load_cached_relation(this) is not none %}
                        and (
                            not {{ is_increment() }}
                            or new_rows.is_erased
                            or known.user_id is null
                        )
                        {% endif %}
                ",
                'int_revenue_events': "
                    select new_rows.user_id, new_rows.occurred_on from new_rows
                    {% if load_cached_relation(this) is not none %}
                    left join {{ this }} as known
                        on new_rows.user_id = known.user_id and new_rows.occurred_on = known.date
                    {% endif %}
                    where
                        new_rows.type in {{ converting_payments() }}
                        {% if load_cached_relation(this) is not none %}
                        and (
                            not {{ is_increment() }}
                            or new_rows.is_erased
                            or known.has_converted is distinct from true
                        )
                        {% endif %}
                ",
            },
            'window_on': 'date',
        },
        indexes=[
            {'columns': ['date']},
            {'columns': ['built_batch_seq']},
            {'columns': ['built_as_of']},
        ],
    )
}}

with

touched as (
    select * from {{ touched_table() }}
),

events as (
    select * from {{ ref('int_actor_days') }}
    where {{ is_visible() }}
),

payments as (
    select * from {{ ref('int_revenue_events') }}
    where
        type in {{ converting_payments() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['user_id', 'occurred_on']) }}
),

-- The day is asked for twice: as itself, for many days at once, and as a range that has an index.
active as (
    select
        touched.user_id,
        touched.date
    from touched
    inner join
        events
        on
            touched.user_id = events.user_id
            and touched.date = events.occurred_on
            and events.occurred_at >= touched.date::timestamp at time zone 'utc'
            and events.occurred_at < (touched.date + 1)::timestamp at time zone 'utc'
    group by touched.user_id, touched.date
),

converting as (
    select
        user_id,
        occurred_on
    from payments
    group by user_id, occurred_on
),

days as (
    select
        active.user_id,
        active.date,
        converting.user_id is not null as has_converted,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from active
    left join
        converting
        on active.user_id = converting.user_id and active.date = converting.occurred_on
)

select * from days
