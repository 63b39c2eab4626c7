"""What the warehouse does, as plain functions."""
