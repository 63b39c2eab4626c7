-- Only on a cluster (WAREHOUSE_CITUS): nodes check the permissions of the role that reads by the names
-- in its query, so it needs the schemas that views and policies read through, and what numbers rows.

grant usage on schema staging to warehouse_analyst, warehouse_tenant;

grant usage on schema warehouse to warehouse_tenant;

grant usage on sequence
    warehouse.restatements_restatement_id_seq,
    warehouse.touched_periods_touched_period_id_seq
to warehouse_transformer;
