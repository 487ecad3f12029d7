"""The ledger: one SQLite file with every product, cursor and file list."""

from s2mirror.adapters.ledger.adoption import AdoptedProduct, Taken
from s2mirror.adapters.ledger.archived_products import ArchiveQuery
from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.mending import Mended
from s2mirror.adapters.ledger.product_lists import ProductQuery
from s2mirror.adapters.ledger.searches import Cursor

__all__ = [
    "AdoptedProduct",
    "ArchiveQuery",
    "Connection",
    "Cursor",
    "Ledger",
    "Mended",
    "ProductQuery",
    "Taken",
    "open_ledger",
]
