-- Replaces percentile_cont, which computes in floating point: marts promise exact figures, rounded once.
-- One expression, and not strict, so that the planner puts it in the place of its call: executing a
-- function for each group took two fifths of the time of the daily figures of users.
create or replace function warehouse.percentile(sorted numeric[], fraction numeric) returns numeric
language sql immutable parallel safe as $$
    select
        sorted[floor(fraction * (cardinality(sorted) - 1))::integer + 1]
        + coalesce(
            (
                sorted[floor(fraction * (cardinality(sorted) - 1))::integer + 2]
                - sorted[floor(fraction * (cardinality(sorted) - 1))::integer + 1]
            )
            * (fraction * (cardinality(sorted) - 1) % 1),
            0
        )
$$;

comment on function warehouse.percentile(numeric[], numeric) is
'The exact continuous percentile of numbers in ascending order; NULL for an empty array.';
