-- Whether a relation is spread over, or copied to, the workers of a cluster. PL/pgSQL looks for Citus'
-- catalog only where there is one.
create or replace function warehouse.is_distributed(relation regclass) returns boolean
language plpgsql stable as $$
begin
    if to_regclass('pg_catalog.pg_dist_partition') is null then
        return false;
    end if;
    return exists (select 1 from pg_catalog.pg_dist_partition as p where p.logicalrelid = relation);
end
$$;

revoke all on function warehouse.is_distributed(regclass) from public;
