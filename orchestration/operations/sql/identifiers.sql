-- Every identifier of a kind in staging and in the facts, with the client that it comes with.
-- The facts keep what expires from staging.
select distinct
    case %(kind)s
        when 'user_id' then e.actor ->> 'user_id'
        when 'lead_id' then e.actor ->> 'lead_id'
        when 'anonymous_id' then e.actor ->> 'anonymous_id'
        else e.client_id
    end as identifier,
    e.client_id
from staging.raw_events as e
union
select
    case %(kind)s
        when 'user_id' then d.user_id
        when 'lead_id' then d.lead_id
        when 'anonymous_id' then d.anonymous_id
        else d.client_id
    end as identifier,
    d.client_id
from intermediate.int_actor_days as d
union
select
    u.user_id,
    u.client_id
from staging.users as u
where %(kind)s = 'user_id'
union
select
    c.client_id as identifier,
    c.client_id
from staging.clients as c
where %(kind)s = 'client_id'
