-- The keys of the entities that hold the identifier, by the staging view through which models read
-- them.
create or replace function warehouse.entities_holding(sought text, of_client text)
returns table (model text, key_column text, keys text [])
language plpgsql stable as $$
declare
    place record;
begin
    for place in
        select e.name, e.key_column
        from (values ('clients', 'client_id'), ('users', 'user_id')) as e (name, key_column)
    loop
        model := 'stg_' || place.name;
        key_column := place.key_column;
        execute format(
            'select array_agg(%I) from staging.%I where %s',
            place.key_column, place.name,
            warehouse.condition_of_holding(
                format('staging.%I', place.name)::regclass, of_client is not null
            )
        ) into keys using sought, of_client;
        if keys is not null then
            return next;
        end if;
    end loop;
end
$$;
