-- The members of an actor that the plan declares: whole values, of which nothing is cut out. A test
-- holds them against the tracking plan.
create or replace function warehouse.ids_of_actors() returns text []
language sql immutable parallel safe as $$
    select array[
        'client_id', 'user_id', 'anonymous_id', 'lead_id', 'unit_id', 'development_id'
    ]
$$;
