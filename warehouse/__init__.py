"""The database layer: settings, errors, connections, the embedded server and the schema."""
