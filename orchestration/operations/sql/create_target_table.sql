-- In the warehouse itself a migration creates it.
create schema if not exists export;
create table if not exists export.analytics_platform_stats (
    id integer primary key check (id = 1),
    active_users bigint not null,
    questions_answered bigint not null,
    pdf_downloads bigint not null,
    engagement_rate numeric(12, 4),
    updated_at timestamptz not null
);
