"""Pulls rows of operational PostgreSQL databases: new rows become events and entities."""
