"""The HTTP API: marts for people and applications, read with the rights of a role."""
