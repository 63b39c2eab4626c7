"""What dbt loads of the warehouse."""
