"""The database, and what everything else depends on."""
