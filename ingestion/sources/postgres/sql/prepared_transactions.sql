-- A hash, for the name is whatever the application calls it.
select md5(gid || ' of ' || prepared::text) as prepared_transaction
from pg_prepared_xacts
where database = current_database()
