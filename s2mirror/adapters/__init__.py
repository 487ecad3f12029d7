"""The adapters, one package per port: catalog, store, archive, ledger, …."""
