"""CDSE's OData interface: deleted products, and a second catalog of all products."""

from s2mirror.adapters.odata.deletions import ODataDeletions
from s2mirror.adapters.odata.products import ODataCatalog
from s2mirror.adapters.odata.transport import ODataOptions

__all__ = ["ODataCatalog", "ODataDeletions", "ODataOptions"]
