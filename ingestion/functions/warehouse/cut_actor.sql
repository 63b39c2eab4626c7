-- An actor with the value cut out of all members but the plan's ids.
create or replace function warehouse.cut_actor(value text, actor jsonb) returns jsonb
language sql immutable strict parallel safe as $$
    select (actor - (select array_agg(m.name) from jsonb_object_keys(u.members) as m (name)))
        || warehouse.cut(value, u.members)
    from (select actor - warehouse.ids_of_actors() as members) as u
$$;
