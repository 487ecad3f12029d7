"""Preview images: rendered by Sentinel Hub, or read from the products."""

from s2mirror.adapters.previews.accounting import account_balance
from s2mirror.adapters.previews.local import ProductImageReader
from s2mirror.adapters.previews.process import HubOptions, SentinelHub

__all__ = ["HubOptions", "ProductImageReader", "SentinelHub", "account_balance"]
