"""The outside, one room each: catalog, store, archive, ledger. They never import each other."""
