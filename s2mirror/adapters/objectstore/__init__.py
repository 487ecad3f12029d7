"""The S3 store."""

from s2mirror.adapters.objectstore.client import S3Store, StoreOptions

__all__ = ["S3Store", "StoreOptions"]
