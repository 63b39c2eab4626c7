insert into export.analytics_platform_stats
(id, active_users, questions_answered, pdf_downloads, engagement_rate, updated_at)
values (
    1, %(active_users)s, %(questions_answered)s, %(pdf_downloads)s, %(engagement_rate)s,
    %(updated_at)s
)
on conflict (id) do update set
    active_users = excluded.active_users,
    questions_answered = excluded.questions_answered,
    pdf_downloads = excluded.pdf_downloads,
    engagement_rate = excluded.engagement_rate,
    updated_at = excluded.updated_at
