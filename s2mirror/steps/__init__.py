"""The mirror's work. A step reads products of one state from the ledger, and records the next."""
