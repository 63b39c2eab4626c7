"""Tables, functions and access of the database."""
