insert into warehouse.exports (
    target, state, reason, accepted_by, run, build, batch_seq, checked_at,
    active_users, questions_answered, pdf_downloads, engagement_rate, updated_at, ended_at
)
values (
    %(target)s, %(state)s, %(reason)s, %(accepted_by)s, %(run)s, %(build)s, %(batch_seq)s,
    %(checked_at)s, %(active_users)s, %(questions_answered)s, %(pdf_downloads)s,
    %(engagement_rate)s, %(updated_at)s,
    case when %(state)s <> 'running' then clock_timestamp() end
)
returning export_id
