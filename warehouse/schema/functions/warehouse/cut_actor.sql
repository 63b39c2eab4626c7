-- An actor with the value cut out of all members but the plan's ids.
create or replace function warehouse.cut_actor(value text, actor jsonb) returns jsonb
language sql immutable strict parallel safe as $$
    select (actor - array(select jsonb_object_keys(u.members))) || warehouse.cut(value, u.members)
    from (select actor - warehouse.ids_of_actors() as members) as u
$$;
