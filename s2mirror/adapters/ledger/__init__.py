"""The ledger: one SQLite file that knows every product, cursor and proof."""

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.cursors import Cursor
from s2mirror.adapters.ledger.holdings import HoldingQuery
from s2mirror.adapters.ledger.ledger import Ledger, open_ledger

__all__ = ["Connection", "Cursor", "HoldingQuery", "Ledger", "open_ledger"]
