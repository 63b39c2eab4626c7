-- No part exceeds its whole: every visitor and every session has a page view, and a mean needs a
-- session.
select *
from {{ ref('stats_daily') }}
where
    unique_visitors > page_views
    or sessions > page_views
    or bounces > sessions
    or (avg_session_seconds is null) <> (sessions = 0)
    or least(bounces, contact_submissions, signups, avg_session_seconds) < 0
    or page_views + contact_submissions + signups = 0
