"""Loads data into staging: contract, sources, loading, privacy, sample data."""
