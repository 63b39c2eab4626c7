with

touched as (
    select
        client_id,
        month,
        to_date(month, 'YYYY-MM') as month_start
    from {{ touched_table() }}
    where {{ is_client() }}
),

messages as (
    select * from {{ ref('int_inbound_messages') }}
    where {{ in_touched_periods('occurred_on', "to_date(month, 'YYYY-MM')") }}
),

answered as (
    select
        touched.client_id,
        touched.month,
        {{ response_bucket_order('messages.seconds_to_answer') }} as bucket_order
    from touched
    inner join
        messages
        on
            touched.client_id = messages.client_id
            and touched.month_start <= messages.occurred_on
            and touched.month_start + interval '1 month' > messages.occurred_on
    where messages.answered_at is not null
),

months as (
    select
        client_id,
        month
    from answered
    group by client_id, month
),

counted as (
    select
        client_id,
        month,
        bucket_order,
        count(*) as responses
    from answered
    group by client_id, month, bucket_order
),

buckets as (
    select
        months.client_id,
        months.month,
        buckets.bucket,
        buckets.bucket_order,
        coalesce(counted.responses, 0) as responses,
        {{ has_ended('month', "to_date(months.month, 'YYYY-MM')") }} as is_complete,
        now() as updated_at
    from months
    cross join {{ response_buckets() }} as buckets (bucket, bucket_order)
    left join
        counted
        on
            months.client_id = counted.client_id
            and months.month = counted.month
            and buckets.bucket_order = counted.bucket_order
)

select * from buckets
