-- How many workers can hold rows, and whether the coordinator is a node that they know.
select
    count(*) filter (where groupid <> 0 and isactive and shouldhaveshards) as workers,
    coalesce(bool_or(groupid = 0), false) as has_coordinator
from pg_catalog.pg_dist_node
where noderole = 'primary'
