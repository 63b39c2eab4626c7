-- The quarantine with the file and line of each rejected line: of a line that was replayed and rejected
-- once more, those of the first time. The event is NULL where PostgreSQL can't read the line.
create or replace view warehouse.rejected_lines as
select
    r.reject_id,
    r.batch_seq,
    coalesce(r.origin_batch_seq, r.batch_seq) as origin_batch_seq,
    b.kind,
    b.source,
    r.line_number,
    r.reason,
    r.detail,
    r.payload,
    r.received_at,
    r.replayed_at,
    r.replayed_at is null and r.expired_at is null as is_waiting,
    case
        -- Of other lines the bytes may not even be UTF-8.
        when r.reason not in ('too_large', 'invalid_encoding', 'invalid_json', 'not_an_object')
            then
                case
                    when pg_input_is_valid(convert_from(r.payload, 'UTF8'), 'jsonb')
                        then convert_from(r.payload, 'UTF8')::json ->> 'event'
                end
    end as event
from staging.rejected_events as r
inner join staging.event_batches as b on coalesce(r.origin_batch_seq, r.batch_seq) = b.batch_seq;

comment on view warehouse.rejected_lines is 'Rejected lines with the file and line that they came from.';
