-- Replaces percentile_cont, which computes in floating point: marts promise exact figures, rounded once.
create or replace function warehouse.percentile(sorted numeric [], fraction numeric) returns numeric
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
'The exact continuous percentile of numbers in ascending order; NULL for an empty array.';
