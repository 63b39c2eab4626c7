"""What may be known of people, and who was erased."""
