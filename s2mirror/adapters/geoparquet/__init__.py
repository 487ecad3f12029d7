"""STAC GeoParquet, written from what the ledger holds."""

from s2mirror.adapters.geoparquet.table import write_geoparquet

__all__ = ["write_geoparquet"]
