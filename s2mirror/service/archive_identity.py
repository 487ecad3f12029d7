"""Whether the archive of a ledger is there: its disk may not be mounted, or be another one."""

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.errors import ArchiveError


def require_identity(ledger: Ledger, archive: Archive) -> None:
    """Raise ArchiveError if the ledger belongs to an archive that is not mounted here."""
    archive_id = ledger.state.get(ARCHIVE_ID)
    if archive_id is not None:
        archive.require(archive_id)


def ensure_identity(ledger: Ledger, archive: Archive) -> None:
    """Raise ArchiveError unless ledger and archive have one identity; the first time, set it."""
    require_identity(ledger, archive)
    if ledger.state.get(ARCHIVE_ID) is None:
        ledger.state.set(ARCHIVE_ID, archive.archive_id() or archive.create())


def archive_problem(ledger: Ledger, archive: Archive) -> str:
    """Return why the archive of this ledger cannot be used, or an empty text."""
    try:
        require_identity(ledger, archive)
    except ArchiveError as error:
        return str(error)
    return ""
