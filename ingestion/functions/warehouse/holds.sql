-- An identifier is sought as a whole value: a column's whole text, or a whole string of a JSON value,
-- be it a member's name or its value. The text is asked first, which costs the least and tells for
-- almost all rows.

create or replace function warehouse.holds(sought text, content jsonb) returns boolean
language sql immutable strict parallel safe as $$
    select
        strpos(content::text, to_json(sought)::text) > 0
        and (
            jsonb_path_exists(content, '$.** ? (@ == $sought)', jsonb_build_object('sought', sought))
            or jsonb_path_exists(
                content,
                '$.** ? (@.type() == "object").keyvalue() ? (@.key == $sought)',
                jsonb_build_object('sought', sought)
            )
        )
$$;

-- JSON may be kept as text, as the canonical row of an entity is.
create or replace function warehouse.holds(sought text, content text) returns boolean
language sql immutable strict parallel safe as $$
    select
        content = sought
        or (
            left(content, 1) in ('{', '[')
            and strpos(content, to_json(sought)::text) > 0
            and pg_input_is_valid(content, 'jsonb')
            and warehouse.holds(sought, content::jsonb)
        )
$$;
