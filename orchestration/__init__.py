"""Runs the warehouse: command line, builds, Dagster."""
