-- The ids of an actor in the tracking plan. They are whole values: an identifier is never cut out of
-- them. A test compares the list with the tracking plan.
create or replace function warehouse.ids_of_actors() returns text []
language sql immutable parallel safe as $$
    select array[
        'client_id', 'user_id', 'anonymous_id', 'lead_id', 'unit_id', 'development_id'
    ]
$$;
