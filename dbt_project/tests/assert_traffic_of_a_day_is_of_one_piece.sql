-- A visitor has a page view, a session begins with one, and a mean is of sessions: no count exceeds
-- what it is part of.
select *
from {{ ref('stats_daily') }}
where
    unique_visitors > page_views
    or sessions > page_views
    or bounces > sessions
    or (avg_session_seconds is null) <> (sessions = 0)
    or least(bounces, contact_submissions, signups, avg_session_seconds) < 0
    or page_views + contact_submissions + signups = 0
