-- Records how a build ended, and deletes what builds of more than a week ago wrote in touched_periods:
-- monitoring reads that within minutes.
create or replace function warehouse.finish_build(invocation text, final_state text) returns void
language sql as $$
    update warehouse.builds set state = final_state, ended_at = clock_timestamp()
    where invocation_id = invocation;

    delete from warehouse.touched_periods as t
    using warehouse.builds as b
    where t.invocation_id = b.invocation_id and b.started_at < now() - interval '7 days';
$$;
