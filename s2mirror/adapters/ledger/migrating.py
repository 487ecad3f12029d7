"""Applies migrations. The only module that imports sqlite-utils, and only if one is missing."""

import sqlite3
import sys
from typing import TYPE_CHECKING, Final

from s2mirror.adapters.ledger import schema

# sqlite-utils imports pandas and numpy if they are installed: 60 MB and 0.5 s, and neither is used.
# None in this table tells Python that a module is not installed.
_UNUSED: Final = [name for name in ("pandas", "numpy") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]
try:
    from sqlite_utils import Database, Migrations
finally:
    for _name in _UNUSED:
        del sys.modules[_name]

if TYPE_CHECKING:
    from collections.abc import Callable

MIGRATIONS: Final = Migrations("s2mirror")
for _name in schema.MIGRATION_NAMES:
    _migrate: "Callable[[Database], None]" = getattr(schema, _name)
    MIGRATIONS()(_migrate)


def names(migrations: Migrations) -> list[str]:
    """Return the names of all migrations of a set, in order."""
    return [migration.name for migration in migrations.pending(Database(memory=True))]


def apply(migrations: Migrations, connection: sqlite3.Connection) -> None:
    """Apply the migrations that a ledger lacks."""
    migrations.apply(Database(connection))
