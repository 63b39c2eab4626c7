-- The exported row and nothing else.

grant usage on schema export to warehouse_marketing;

grant select on export.analytics_platform_stats to warehouse_marketing;
