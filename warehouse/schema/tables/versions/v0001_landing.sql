-- Tables of loaded data. Conventions: client_id is text, never null and part of every key of a table
-- that has it; no foreign keys, no triggers (see the rules for more than one machine in
-- CONTRIBUTING.md).

create schema staging;

-- Raw events.

-- Fixed-width columns come first, so that rows need no alignment padding.
create table staging.raw_events (
    event_id uuid not null,
    "timestamp" timestamptz not null,
    batch_id bigint not null,
    is_bot boolean not null,
    client_id text not null,
    event text not null,
    actor jsonb not null,
    context jsonb,
    properties jsonb,
    visitor_hash bytea,
    country text,
    unique (client_id, event_id, "timestamp")
) partition by range ("timestamp");

comment on table staging.raw_events is
'One row per accepted event, as received but without context.ip. Partitioned by month of timestamp (UTC).';
comment on column staging.raw_events.event_id is
'The producer''s idempotency key or, if it sent none, the UUIDv5 of the event''s canonical JSON.';
comment on column staging.raw_events."timestamp" is 'When the event happened.';
comment on column staging.raw_events.batch_id is
'The batch that landed the event: staging.event_batches.batch_id, through which batch_seq is found.';
comment on column staging.raw_events.is_bot is 'Whether the user agent is that of a known crawler.';
comment on column staging.raw_events.client_id is 'The tenant; _platform for events of no client.';
comment on column staging.raw_events.event is 'The event''s name in the tracking plan.';
comment on column staging.raw_events.actor is 'Who did it, as received.';
comment on column staging.raw_events.context is 'The circumstances, as received but without ip.';
comment on column staging.raw_events.properties is 'The event''s own data, as received.';
comment on column staging.raw_events.visitor_hash is
'HMAC-SHA256 of client, IP and user agent under the salt of the day of receipt.';
comment on column staging.raw_events.country is
'ISO 3166-1 alpha-2 code of the IP''s country on receipt; NULL without a country database.';

-- Builds read the events of one kind in some batches. B-tree deduplication stores equal keys once, so
-- the index has a tenth of the size of the unique one.
create index raw_events_by_batch on staging.raw_events (batch_id, event);

-- The ledger.

create table staging.loads (
    load_id bigint generated always as identity primary key,
    kind text not null,
    source text not null,
    head_digest bytea not null,
    state text not null default 'running' check (state in ('running', 'finished', 'failed', 'abandoned')),
    error text,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);

comment on table staging.loads is
'One row per load of a file. The next load of the same source resumes a running or failed load whose loader is gone, or abandons it if the source has other content by then.';
comment on column staging.loads.kind is 'What was loaded: events, or the entity (clients, units, users, documents).';
comment on column staging.loads.source is
'The absolute path, - for standard input, collector for events that came over HTTP, or the stream of an operational database (crm/leads).';
comment on column staging.loads.head_digest is
'SHA-256 of the first 64 KiB that were read (decompressed, mapped): identifies the content of a source. Of the collector, SHA-256 of the segment''s name.';

create index loads_unfinished on staging.loads (source, kind) where state in ('running', 'failed');
-- The collector looks up each segment, of which there are thousands a day.
create index loads_of_segments on staging.loads (head_digest)
where source in ('collector', 'warehouse');

create sequence staging.batch_ids;

create table staging.event_batches (
    batch_seq bigint primary key,
    batch_id bigint not null unique,
    load_id bigint not null,
    kind text not null,
    source text not null,
    chunk integer not null,
    start_offset bigint not null,
    end_offset bigint not null,
    lines_before bigint not null,
    lines bigint not null,
    digest bytea not null,
    received bigint not null,
    replayed bigint not null default 0,
    accepted bigint not null,
    duplicates bigint not null,
    suppressed bigint not null,
    suppressed_erased bigint not null default 0,
    rejected bigint not null,
    min_timestamp timestamptz,
    max_timestamp timestamptz,
    received_at timestamptz not null,
    committed_at timestamptz not null default clock_timestamp(),
    erased bigint not null default 0,
    erased_by bigint,
    unique (load_id, chunk),
    constraint every_line_has_one_outcome
    check (received + replayed = accepted + duplicates + suppressed + rejected),
    constraint counts_are_not_negative
    check (
        least(received, replayed, accepted, duplicates, suppressed_erased, rejected) >= 0
        and suppressed >= suppressed_erased
    )
);

comment on table staging.event_batches is
'The ledger: one row per committed chunk of a load, numbered in commit order. A reader that sees batch_seq N sees every batch before N.';
comment on column staging.event_batches.load_id is
'The load that the chunk belongs to; for an erasure, which is not a load, the negative of its batch_id.';
comment on column staging.event_batches.batch_id is
'The number that the batch''s rows carry. Unlike batch_seq it is drawn before the rows are written and is in no particular order.';
comment on column staging.event_batches.kind is
'events; the entity that the batch changed (clients, units, users, documents); or erasure, which removed events of earlier batches.';
comment on column staging.event_batches.chunk is 'Number of the chunk in its load, from 0.';
comment on column staging.event_batches.start_offset is
'Offset of the chunk''s first byte in what was read (decompressed, mapped).';
comment on column staging.event_batches.end_offset is 'Offset of the byte after the chunk''s last one.';
comment on column staging.event_batches.lines_before is 'Lines of the source before this chunk, blank ones included.';
comment on column staging.event_batches.lines is 'Lines of the chunk, blank ones included.';
comment on column staging.event_batches.digest is
'SHA-256 of the chunk''s bytes: a resumed load compares it to verify that it reads the same file.';
comment on column staging.event_batches.received is 'Non-blank lines. Each is accepted, duplicate, suppressed or rejected.';
comment on column staging.event_batches.replayed is
'Rejected lines of earlier batches that were validated again. They have an outcome here, too, and do not count as received once more.';
comment on column staging.event_batches.min_timestamp is 'Earliest timestamp of the accepted events.';
comment on column staging.event_batches.max_timestamp is 'Latest timestamp of the accepted events.';
comment on column staging.event_batches.erased is
'Accepted events that are gone by now: an erasure removed them, or a rebuild of the typed facts was allowed to lose events that had expired. Models hold that many events less.';
comment on column staging.event_batches.erased_by is
'The batch_seq of the last erasure that removed events of this batch.';

create index event_batches_erasures on staging.event_batches (batch_seq) where kind = 'erasure';
create index event_batches_erased on staging.event_batches (erased_by) where erased_by is not null;

-- What was pulled from operational databases.

create table staging.source_cursors (
    source text not null,
    stream text not null,
    asked_at timestamptz not null,
    open_since timestamptz not null,
    prepared jsonb not null default '{}',
    complete_until timestamptz,
    pulled_at timestamptz not null default clock_timestamp(),
    primary key (source, stream)
);

comment on table staging.source_cursors is
'How far each stream of an operational database was read. Written in the transaction that lands the last rows of a pull.';
comment on column staging.source_cursors.asked_at is
'When the last pull took its snapshot, by the source''s clock.';
comment on column staging.source_cursors.open_since is
'When the oldest transaction began that was open then, prepared ones aside; asked_at if none was.';
comment on column staging.source_cursors.prepared is
'The prepared transactions of then, each with the earliest time at which it may have begun.';
comment on column staging.source_cursors.complete_until is
'All rows with an earlier time have been read; NULL if none is certain. The next pull reads from here, less the overlap.';

-- Lines that were rejected or suppressed.

create table staging.rejected_events (
    reject_id bigint generated always as identity primary key,
    batch_seq bigint not null,
    line_number bigint not null,
    reason text not null,
    detail text not null,
    payload bytea not null,
    received_at timestamptz not null,
    replayed_at timestamptz,
    origin_batch_seq bigint,
    expired_at timestamptz
);

comment on table staging.rejected_events is
'The quarantine: each rejected line with its exact bytes, without line end and byte-order mark. Only the owner may read it.';
comment on column staging.rejected_events.line_number is 'The line''s number in its file, from 1.';
comment on column staging.rejected_events.origin_batch_seq is
'Of a line that was replayed and rejected again, the batch that its file was loaded in.';
comment on column staging.rejected_events.expired_at is
'When payload and detail were removed, 30 days after receipt.';
create index rejected_events_by_batch on staging.rejected_events (batch_seq);
create index rejected_events_waiting on staging.rejected_events (reject_id) where replayed_at is null;

create table staging.suppressed_events (
    batch_seq bigint not null,
    event text not null,
    day date not null,
    suppressed bigint not null,
    primary key (batch_seq, event, day)
);

comment on table staging.suppressed_events is
'Number of suppressed lines by event and day (of the timestamp, or of receipt if the timestamp can''t be read). Their content is not kept.';

create table staging.used_sequences (
    batch_seq bigint not null,
    producer text not null,
    "sequence" bigint not null,
    day date not null
);

comment on table staging.used_sequences is
'Sequence numbers of suppressed, duplicate and rejected lines: these do not count as lost.';
create index used_sequences_by_batch on staging.used_sequences (batch_seq);

-- Path and name are apart, so that a search for an identifier finds it as a name.
create table staging.unknown_members (
    batch_seq bigint not null,
    event text not null,
    path text not null,
    name text not null,
    events bigint not null,
    nearest_known text,
    primary key (batch_seq, event, path, name)
);

comment on table staging.unknown_members is
'Members of accepted events that the tracking plan does not know, by batch and event: the most frequent by name, all others as one.';
comment on column staging.unknown_members.path is
'The object that the member is in, such as properties or context.page; other for all that are not counted by name.';
comment on column staging.unknown_members.name is 'The member''s name; empty for all others.';
comment on column staging.unknown_members.events is 'How many accepted events of the batch have it.';
comment on column staging.unknown_members.nearest_known is
'The path of the known member that may be meant, when it landed.';

-- Expiry.

create table staging.dropped_months (
    month date primary key,
    events bigint not null,
    dropped_at timestamptz not null default clock_timestamp()
);

comment on table staging.dropped_months is
'Expired months of staging.raw_events with their number of events, which only the typed facts still hold.';
comment on column staging.dropped_months.dropped_at is
'When the month was dropped last: events of the month that land later are dropped again.';

-- Privacy.

create table staging.visitor_salts (
    day date primary key,
    salt bytea not null
);

comment on table staging.visitor_salts is
'The salt of visitor_hash, one for each day of receipt (UTC), destroyed by the first load or expiry 48 h after the start of that day.';

-- Entities.

create table staging.clients (
    client_id text primary key,
    name text,
    status text,
    plan text,
    created_at timestamptz not null,
    churned_at timestamptz,
    updated_at timestamptz not null,
    canonical text collate "C" not null,
    batch_id bigint not null
);

create table staging.units (
    unit_id text primary key,
    development_id text,
    client_id text,
    updated_at timestamptz not null,
    canonical text collate "C" not null,
    batch_id bigint not null
);

create table staging.users (
    user_id text primary key,
    client_id text,
    "role" text,
    plan text,
    created_at timestamptz not null,
    monthly_message_limit bigint,
    monthly_token_limit bigint,
    monthly_cost_limit numeric,
    updated_at timestamptz not null,
    canonical text collate "C" not null,
    batch_id bigint not null
);

create table staging.documents (
    document_id text primary key,
    title text,
    city text,
    zoning text,
    "zone" text,
    updated_at timestamptz not null,
    canonical text collate "C" not null,
    batch_id bigint not null
);

comment on table staging.clients is 'Current clients: for each the row with the newest updated_at.';
comment on table staging.units is 'Current units.';
comment on table staging.users is 'Current users; limits are per calendar month, the cost limit in USD.';
comment on table staging.documents is 'Current documents.';
comment on column staging.clients.canonical is
'The row''s canonical JSON: of two rows with the same updated_at the one with the greater text wins.';
comment on column staging.clients.batch_id is 'The batch that wrote this row.';
