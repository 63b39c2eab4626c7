-- Cuts an identifier out of all members of an actor except the ids of the tracking plan.
create or replace function warehouse.cut_actor(value text, actor jsonb) returns jsonb
language sql immutable strict parallel safe as $$
    select (actor - array(select jsonb_object_keys(u.members))) || warehouse.cut(value, u.members)
    from (select actor - warehouse.ids_of_actors() as members) as u
$$;
