"""The mirror's work, one short story each. Steps never call each other: they meet in the ledger."""
