-- What marts share: exact percentiles, and where views look from.

create schema marts;

-- percentile_cont computes in floating point; the marts promise exact figures, rounded once.
create function warehouse.percentile(sorted numeric [], fraction numeric) returns numeric
language sql immutable strict parallel safe as $$
    select
        sorted[place + 1]
        + coalesce((sorted[place + 2] - sorted[place + 1]) * (spot - place), 0)
    from (
        select
            fraction * (cardinality(sorted) - 1) as spot,
            floor(fraction * (cardinality(sorted) - 1))::integer as place
    ) as spots
    where cardinality(sorted) > 0
$$;

comment on function warehouse.percentile(numeric [], numeric) is
'The continuous percentile of numbers given in ascending order, exact; NULL of none.';

-- Reads the offsets as their owner: who may read a view need not see how builds stand.
create function warehouse.stands_at(model_name text) returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select o.as_of from warehouse.model_offsets as o where o.model = model_name
$$;

comment on function warehouse.stands_at(text) is
'The instant that a model looks from: as_of of the last build that moved it.';
