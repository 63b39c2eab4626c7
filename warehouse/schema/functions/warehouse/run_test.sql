-- Runs one stored dbt test and records its result. Returns pass, warn or fail, as dbt does.
create or replace function warehouse.run_test(test_name text, out outcome text, out failures bigint)
language plpgsql as $$
declare
    stored warehouse.stored_tests;
    is_warning boolean;
    is_error boolean;
begin
    select * into strict stored from warehouse.stored_tests as t where t.test = test_name;
    execute stored.outcome into strict failures, is_warning, is_error;
    outcome := case
        when stored.severity = 'error' and is_error then 'fail'
        when is_warning then 'warn'
        else 'pass'
    end;
    insert into warehouse.check_results
        (check_name, source, model, severity, passed, failures, detail, batch_seq, as_of)
    select
        'dbt.' || stored.test,
        'dbt',
        stored.model,
        stored.severity,
        outcome = 'pass',
        run_test.failures,
        case when outcome <> 'pass' then format('Got %s results, configured to %s if != 0', run_test.failures, outcome) end,
        coalesce(o.batch_seq, (select coalesce(max(b.batch_seq), 0) from staging.event_batches as b)),
        nullif(o.as_of, 'infinity')
    from (values (1)) as one (row)
    left join warehouse.model_offsets as o on o.model = stored.model;
end
$$;
