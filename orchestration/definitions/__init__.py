"""What Dagster knows of the warehouse."""
