select
    %(model)s::text as model,
    v.skipped,
    v.verified_cells,
    v.differing_rows,
    v.differing_columns,
    v.differences
from warehouse.verify_model(%(model)s, %(cells)s, %(seed)s) as v;
