"""Who may do what in the database."""
