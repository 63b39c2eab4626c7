-- Raises an exception if a build would move as_of back.
create or replace function warehouse.refuse_earlier_as_of(wanted_as_of timestamptz) returns void
language plpgsql stable as $$
begin
    if wanted_as_of < warehouse.last_as_of() then
        raise exception 'as_of % lies before that of the last build, %',
            wanted_as_of, warehouse.last_as_of()
        using hint = 'Incremental builds only move forward: omit --as-of, give a later one, or use --full-refresh.';
    end if;
end
$$;
