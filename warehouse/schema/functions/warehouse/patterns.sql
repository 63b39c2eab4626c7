-- What a text is like, in lower case, that may name or mention an identifier: almost none is, and the
-- others cost no more than this.
create or replace function warehouse.patterns(sought text) returns text []
language sql immutable strict parallel safe as $$
    select array[
        '%' || regexp_replace(warehouse.needle(sought), '([\\%_])', '\\\1', 'g') || '%',
        '%\%%',
        '%\\%'
    ]
$$;
