"""Slow, plain statements of what the product promises, to test the product against."""
