"""Every error of the mirror, as one tree. A message: what was tried, what came back, what to do.

MirrorError
├── ConfigError              exit 2: the operator must edit a file
├── UsageError               exit 2: a command was given something it cannot use
├── OutsideError             exit 3: a service outside did not do its part
│   ├── CatalogError         the STAC catalog (transient or not, see ``transient``)
│   │   └── CatalogUnavailable   transient
│   ├── StoreError           the S3 store, about one object or product
│   │   ├── StoreUnavailable     transient
│   │   │   ├── StoreBusy            it asks for fewer requests; no product is to blame
│   │   │   └── StoreUnreachable     no request gets through at all; likewise
│   │   └── StoreChanged         transient: the product must be listed anew
│   ├── TokenError           the token endpoint
│   │   └── TokenUnavailable     transient
│   └── PreviewError         the service that draws previews, or a product's own pictures
│       └── PreviewUnavailable   transient
├── CredentialError          exit 6: no request is let in; no product is to blame
│   └── KeyRefused               this very key pair is; another one may work
├── QuotaError               exit 7: the account's volume is used up; no product is to blame
├── IntegrityError           bytes differ from what was promised
│   └── HostileInput         a name, key, document or size that no honest source sends
├── ArchiveError             exit 5: the disk, its room, or the archive's marker
├── LedgerError              exit 5: the ledger file cannot be used
├── AlreadyRunning           exit 4: another instance holds the lock
├── ItemRejected             a catalog item that cannot become a product
├── Stopped                  the operator or the system asked the mirror to stop
└── IllegalTransition        a bug in s2mirror

Nothing else decides about retries or exit codes: ``transient`` and ``exit_code`` do.
"""

from typing import ClassVar


class MirrorError(Exception):
    """Base of all errors that s2mirror raises on purpose."""

    transient: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1
    retry_after_seconds: float | None = None
    """When the other side said how long to wait."""


class ConfigError(MirrorError):
    """The configuration has faults; ``faults`` lists every one with its place."""

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class UsageError(MirrorError):
    """A command was given something it cannot use."""

    exit_code = 2


class OutsideError(MirrorError):
    """A service outside did not do its part."""

    exit_code = 3


class CatalogError(OutsideError):
    """The STAC catalog answered something that no retry will mend."""


class CatalogUnavailable(CatalogError):
    """The STAC catalog cannot be reached or is busy; try again later."""

    transient = True


class StoreError(OutsideError):
    """The S3 store refused one object or product; a retry will not mend it soon."""


class StoreUnavailable(StoreError):
    """The S3 store cannot be reached or is busy; try again later."""

    transient = True


class StoreBusy(StoreUnavailable):
    """The S3 store asks for fewer requests; every product waits, none is to blame."""


class StoreUnreachable(StoreUnavailable):
    """No request gets through to the S3 store; no product is to blame."""


class StoreSlow(StoreUnavailable):
    """Bytes came so slowly that the connection was given up."""


class StoreChanged(StoreError):
    """An object is no longer what was listed; list the product anew and go on."""

    transient = True


class TokenError(OutsideError):
    """The token endpoint answered something that no retry will mend."""


class TokenUnavailable(TokenError):
    """The token endpoint cannot be reached or is busy; try again later.

    ``wait_seconds`` is how long it wants to be left alone.
    """

    transient = True

    def __init__(self, text: str, *, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds


class PreviewError(OutsideError):
    """A preview cannot be made, and a retry will not mend it.

    ``units`` is what the try has cost all the same; ``wait_seconds`` how long the service wants to
    be left alone.
    """

    def __init__(self, text: str, *, units: float = 0.0, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.units = units
        self.wait_seconds = wait_seconds


class PreviewUnavailable(PreviewError):
    """The service that draws previews cannot be reached or is busy; try again later."""

    transient = True


class CredentialError(MirrorError):
    """A key or client is wrong, expired or lacks a right; no product is to blame."""

    exit_code = 6


class KeyRefused(CredentialError):
    """This very key pair is refused; another one may work."""


class QuotaError(MirrorError):
    """The account's volume is used up; no product is to blame."""

    exit_code = 7


class IntegrityError(MirrorError):
    """Bytes differ from what the catalog, the listing or the manifest promised."""


class HostileInput(IntegrityError):
    """A name, key, document or size that no honest source sends."""


class ArchiveError(MirrorError):
    """The disk, its room or the archive's marker file stops the work."""

    exit_code = 5


class FileLost(ArchiveError):
    """The bytes of a file cannot be had (any more): it is gone, or its disk reports an error."""


class LedgerError(MirrorError):
    """The ledger file cannot be used as it is."""

    exit_code = 5


class AlreadyRunning(MirrorError):
    """Another process works with the same ledger."""

    exit_code = 4


class ItemRejected(MirrorError):
    """A catalog item that cannot become a product; recorded, never fatal."""


class Stopped(MirrorError):
    """The work was interrupted on request; what was done so far is kept."""

    transient = True


class IllegalTransition(MirrorError):
    """A product was to take a road that the life table does not have: a bug in s2mirror."""
