-- What each mart has read and how its checks went. A backfill or a full refresh may change rows and
-- no offset; one that was killed counts as running until another build has ended.
with

rewriting as (
    select
        b.started_at,
        b.state = 'running' and not exists (
            select 1 from warehouse.builds as later
            where later.started_at > b.started_at and later.state = 'done'
        ) as is_running
    from warehouse.builds as b
    where b.window_start is not null or b.full_refresh
    order by b.started_at desc
    limit 1
)

select
    s.mart,
    s.built_as_of,
    s.batch_seq,
    s.last_check_status,
    (select r.started_at from rewriting as r) as rewritten_at,
    coalesce((select r.is_running from rewriting as r), false) as is_being_rewritten
from marts.mart_status as s
