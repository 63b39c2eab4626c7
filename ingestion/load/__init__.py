"""Loads lines into staging: chunks, batches, the ledger, the quarantine, entities."""
