"""What lands in the warehouse, and how."""
