"""How lines get into staging: chunks, batches, the ledger, the quarantine."""
