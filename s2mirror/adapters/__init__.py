"""The outside, one room each: catalogue, store, archive, ledger. They never import each other."""
