-- Traces of requests to two LLM services (Azure LLM inference traces), CSV:
-- TIMESTAMP (UTC, 7 decimals), ContextTokens, GeneratedTokens.
--
-- Every row is a chat without a user. The client is azure-code or azure-conv, according to _code or
-- _conv in the file's name; any other name is an error.
--
-- Two requests may be equal in all columns, so the event id is the MD5 of client, timestamp and row
-- number. The directory and the rest of the file name do not matter.

with

requests as (
    select
        "TIMESTAMP" as happened_at,
        ContextTokens as tokens_prompt,
        GeneratedTokens as tokens_completion,
        row_number() over () as row_number
    from read_csv(
        getvariable('source'),
        header = true,
        delim = ',',
        types = {'TIMESTAMP': 'varchar', 'ContextTokens': 'bigint', 'GeneratedTokens': 'bigint'}
    )
),

service as (
    select
        regexp_extract(parse_filename(getvariable('source')), '_(code|conv)[_.]', 1) as name
),

named as (
    select
        requests.*,
        if(
            service.name = '',
            error('the name of the file holds neither _code nor _conv'),
            'azure-' || service.name
        ) as client_id
    from requests
    cross join service
)

select
    cast(md5(concat_ws('|', client_id, happened_at, row_number)) as uuid) as event_id,
    'chat' as event,
    replace(happened_at, ' ', 'T') || 'Z' as "timestamp",
    {client_id: client_id} as actor,
    {tokens_prompt: tokens_prompt, tokens_completion: tokens_completion} as properties
from named
