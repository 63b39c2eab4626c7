"""Versioned, forward-only migrations of everything that dbt does not own."""
