create or replace function warehouse.refuse_earlier_as_of(wanted_as_of timestamptz) returns void
language plpgsql stable as $$
begin
    if wanted_as_of < warehouse.last_as_of() then
        raise exception 'as_of % lies before that of the last build, %',
            wanted_as_of, warehouse.last_as_of()
        using hint = 'An incremental build only moves forward: leave --as-of out, give a later one, or use --full-refresh.';
    end if;
end
$$;
