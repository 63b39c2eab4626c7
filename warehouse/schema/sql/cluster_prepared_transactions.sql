-- How many prepared transactions each node keeps.
select
    n.nodename || ':' || n.nodeport as node,
    r.success,
    r.result
from run_command_on_all_nodes($$select current_setting('max_prepared_transactions')$$) as r
inner join pg_catalog.pg_dist_node as n on r.nodeid = n.nodeid
order by node
