"""What may be sent, and the validation of each line."""
