"""The S3 store."""

from s2mirror.adapters.objectstore.boto3_client import StoreOptions
from s2mirror.adapters.objectstore.client import S3Store
from s2mirror.adapters.objectstore.failover import FailoverStore, StoreTarget, StoreTargets

__all__ = ["FailoverStore", "S3Store", "StoreOptions", "StoreTarget", "StoreTargets"]
