-- Runs a block on every node; returns those where it failed, and why.
select
    n.nodename || ':' || n.nodeport as node,
    r.result
from run_command_on_all_nodes(%(block)s) as r
inner join pg_catalog.pg_dist_node as n on r.nodeid = n.nodeid
where not r.success
order by node
