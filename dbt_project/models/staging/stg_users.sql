with

users as (
    select * from {{ source('staging', 'users') }}
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

numbered as (
    select
        users.user_id,
        users.client_id,
        batches.batch_seq,

        users."role",
        users.plan,

        users.monthly_message_limit,
        users.monthly_token_limit,
        users.monthly_cost_limit,

        users.created_at,
        users.updated_at
    from users
    inner join batches on users.batch_id = batches.batch_id
)

select * from numbered
