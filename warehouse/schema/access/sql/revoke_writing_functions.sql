select 'revoke execute on function ' || p.oid::regprocedure || ' from public' as statement
from pg_proc as p
where
    p.pronamespace = 'pg_catalog'::regnamespace
    and p.proname = any(%(functions)s)
    and has_function_privilege('public', p.oid, 'execute')
order by 1
