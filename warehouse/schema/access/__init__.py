"""Roles, grants and row-level security."""
