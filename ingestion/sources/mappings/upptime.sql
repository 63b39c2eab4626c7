-- Uptime checks of endpoints (Upptime's commit messages), CSV:
-- commit, checked_at, endpoint, state, status_code, latency_ms.
--
-- Every check is a GET of the platform (client _platform). Status 0 means no response and becomes 599,
-- the largest status in the plan; the state (up, down) is kept as a property.
--
-- A commit contains the checks of several endpoints, so the event id is the MD5 of commit and endpoint.

with

checks as (
    select * from read_csv(
        getvariable('source'),
        header = true,
        delim = ',',
        types = {
            'commit': 'varchar',
            'checked_at': 'timestamptz',
            'endpoint': 'varchar',
            'state': 'varchar',
            'status_code': 'integer',
            'latency_ms': 'bigint'
        }
    )
)

select
    cast(md5(concat_ws('|', "commit", endpoint)) as uuid) as event_id,
    'api_request' as event,
    checked_at as "timestamp",
    {client_id: '_platform'} as actor,
    {
        endpoint: endpoint,
        method: 'GET',
        status_code: if(status_code = 0, 599, status_code),
        response_time_ms: latency_ms,
        state: state
    } as properties
from checks
