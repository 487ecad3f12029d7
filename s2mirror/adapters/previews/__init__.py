"""Pictures: drawn by Sentinel Hub, or found in the products themselves."""

from s2mirror.adapters.previews.local import ProductPictures
from s2mirror.adapters.previews.process import HubOptions, SentinelHub

__all__ = ["HubOptions", "ProductPictures", "SentinelHub"]
