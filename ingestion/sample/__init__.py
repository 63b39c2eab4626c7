"""Generates the sample data of the demo."""
