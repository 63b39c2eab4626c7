-- Sets parameters until the transaction ends. `set local` also sets them in the sessions of a cluster's
-- workers, which set_config does not (see citus.propagate_set_commands).
create or replace function warehouse.set_locally(parameters jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    of_one record;
begin
    for of_one in select p.key, p.value from jsonb_each_text(parameters) as p loop
        execute format(
            'set local %s = %L',
            array_to_string(
                array(select quote_ident(part) from unnest(string_to_array(of_one.key, '.')) as part), '.'
            ),
            of_one.value
        );
    end loop;
end
$$;
