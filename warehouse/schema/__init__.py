"""The database schema: tables, functions, and access (roles, grants, policies)."""
