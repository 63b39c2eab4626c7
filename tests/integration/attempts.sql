-- What a tenant may try: whole attempts, one a line. What comes of it, results, notices and errors alike,
-- must not hold the word that every row of the other tenant holds. Some of them are refused.

--- settings of the session
set row_security = off; select * from marts.analytics_daily
set warehouse.client_id = 'rival'; select * from marts.analytics_daily
set search_path = pg_temp, marts, warehouse; select * from analytics_daily
select set_config('role', 'rival_app', false); select * from marts.analytics_daily
set session_replication_role = replica; select * from marts.analytics_daily

--- another role
set role rival_app; select * from marts.analytics_daily
set role none; select * from marts.analytics_daily
reset role; select * from marts.chat_events
set role warehouse_tenant; select * from marts.analytics_daily
set role warehouse_analyst; select * from marts.analytics_daily
set role warehouse_transformer; select * from marts.analytics_daily
set session authorization rival_app; select * from marts.analytics_daily
set local role postgres
grant warehouse_analyst to acme_app
alter role acme_app rename to rival_app
create role rival_too in role warehouse_analyst

--- the mapping
select * from warehouse.tenants
update warehouse.tenants set client_id = 'rival'
insert into warehouse.tenants values ('acme_app', 'rival')
table marts.tenants

--- plans
explain (analyze, verbose, costs) select * from marts.chat_events
explain (analyze, verbose) select * from marts.chat_events where user_id like 'u1 of %'
explain (verbose) select client_id from marts.analytics_daily group by 1

--- errors that tell values
select client_id::int from marts.chat_events where client_id <> 'acme'
select user_id::date from marts.chat_events where user_id <> 'u1 of acme' and client_id <> 'acme'
select 1 / (case when client_id = 'acme' then 1 else 0 end), * from marts.chat_events
select * from marts.chat_events where 1 / (case when client_id = 'acme' then 1 else 0 end) = 1
select * from marts.lead_funnel where cast(lead_id as int) = 1 and client_id <> 'acme'
select jsonb_path_query(to_jsonb(c), '$.client_id.double()') from marts.chat_events as c where client_id <> 'acme'

--- functions and operators of one's own
select * from marts.chat_events where pg_temp.leak(user_id)
select count(*) from marts.lead_funnel where pg_temp.leak(client_id || lead_id)
select * from marts.user_recent_activity where pg_temp.leak(user_id)
select * from marts.chat_events where client_id operator(pg_temp.<<<) 'x' and pg_temp.leak(user_id)
set search_path = pg_temp, pg_catalog; select * from marts.get_conversion_funnel('rival', '2026-01-01', '2026-02-01') where leads > 0
set search_path = pg_temp, pg_catalog; select * from marts.analytics_daily
set search_path = pg_temp, pg_catalog; select * from marts.calculate_user_engagement('nobody', 90) where calculate_user_engagement > 0

--- views of one's own
create temporary view mine as select * from marts.chat_events; select * from mine
create temporary view bare with (security_barrier = false) as select * from marts.lead_funnel; select * from bare where pg_temp.leak(lead_id)
create view public.mine as select * from marts.chat_events
create materialized view marts.mine as select * from marts.chat_events
create rule leak as on select to marts.chat_events do instead select 1
create temporary table taken as select * from marts.lead_funnel; select * from taken

--- statistics
select * from pg_stats where schemaname in ('marts', 'intermediate', 'staging')
select * from pg_statistic
select * from pg_stats_ext
select * from pg_statistic_ext_data
select query from pg_stat_activity

--- prepared statements and cursors
prepare p as select * from marts.chat_events; execute p
begin; declare c cursor for select * from marts.lead_funnel; fetch all from c

--- copies
copy marts.chat_events to stdout
copy (select * from marts.lead_funnel) to stdout
copy (select * from marts.chat_events) to program 'cat'
copy marts.chat_events to '/tmp/rival'
select query_to_xml('select * from marts.chat_events', true, true, '')
select schema_to_xml('marts', true, true, '')
select database_to_xml(true, true, '')
select table_to_xml('marts.chat_events', true, true, '')

--- large objects and files
select lo_import('/etc/passwd')
select lo_get(oid) from pg_largeobject_metadata
select * from pg_largeobject
select pg_read_file('PG_VERSION')
select pg_ls_dir('.')

--- what lies beneath
select * from intermediate.int_events
select * from intermediate.stg_documents
select * from intermediate.int_clients
select * from staging.raw_events
select * from staging.rejected_events
select * from staging.clients
select * from warehouse.restatements
select * from warehouse.builds
select marts.chat_events from marts.chat_events
select (c).* from (select c from marts.chat_events as c) as x
select * from marts.document_popularity
select * from marts.documents
select * from marts.clients where pg_temp.leak(name)
select * from marts.users where pg_temp.leak(user_id)
select u.* from marts.users as u full join marts.clients as c on u.client_id = c.client_id
select warehouse.current_as_of('analytics_daily')
select * from marts.alert_history

--- locks, writes and changes
select * from marts.chat_events for update
delete from marts.chat_events returning *
update marts.chat_events set user_id = 'u1 of acme' returning *
insert into marts.chat_events select * from marts.chat_events
truncate marts.chat_events
alter table marts.chat_events disable row level security
alter table marts.chat_events no force row level security
drop policy tenant_client_and_user on marts.chat_events
create policy more on marts.chat_events using (true)
alter view marts.user_recent_activity set (security_invoker = false)
create function marts.leak() returns int language sql as 'select 1'
lock table marts.chat_events
analyze verbose marts.chat_events
vacuum (verbose) marts.chat_events
create trigger t before insert on marts.chat_events execute function pg_temp.leak()

--- rows counted around the policy
select count(*) from marts.chat_events tablesample system (100) where pg_temp.leak(client_id)
select ctid, tableoid::regclass, client_id from marts.chat_events
select * from marts.chat_events where ctid = any(array['(0,1)', '(0,2)', '(0,3)', '(0,4)', '(0,5)']::tid[]) and pg_temp.leak(client_id)
select * from marts.chat_events c join marts.lead_funnel l on c.client_id <> l.client_id
select array_agg(client_id) over () from marts.sessions
merge into marts.chat_events c using marts.lead_funnel l on true when matched then delete
