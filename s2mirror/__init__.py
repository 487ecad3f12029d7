"""s2mirror keeps a local Sentinel-2 archive current, every byte proven."""

__version__ = "0.1.0"
