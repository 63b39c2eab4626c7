"""Dagster's definitions of the warehouse."""
