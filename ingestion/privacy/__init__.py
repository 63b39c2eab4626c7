"""Privacy: visitor hashes, countries, and the suppression of erased subjects."""
