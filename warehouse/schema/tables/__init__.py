"""Alembic migrations of the tables, forward only."""
