"""Every error of the mirror, as one tree. A message: what was tried, what came back, what to do.

MirrorError
├── ConfigError              exit 2: the operator must edit a file
├── UsageError               exit 2: a command was given something it cannot use
├── OutsideError             exit 3: an outside service did not do its part
│   ├── CatalogError             the STAC catalog
│   │   └── CatalogUnavailable       transient
│   ├── StoreError               the S3 store, about one object or product
│   │   ├── StoreUnavailable         transient
│   │   │   ├── StoreBusy                it asks for fewer requests; no product is to blame
│   │   │   ├── StoreUnreachable         no request gets through; pauses everything
│   │   │   └── StoreSlow                a connection was closed for its low rate
│   │   └── StoreChanged             transient: the product must be listed again
│   ├── AlertError               a ping or message to the operators
│   ├── TokenError               the token endpoint
│   │   └── TokenUnavailable         transient
│   └── PreviewError             the service that renders previews, or a product's own images
│       └── PreviewUnavailable       transient
├── CredentialError          exit 6: no request is authorized; pauses everything
│   └── KeyRefused               this key pair is refused; another one may work
├── QuotaError               exit 7: the account's quota is used up; pauses everything
├── IntegrityError           transient: bytes differ from what was announced
│   └── HostileInput             a name, key, document or size that no honest source sends
├── ArchiveError             exit 5: the disk, its capacity or the archive_id; pauses everything
│   ├── FileLost                 the bytes of one file cannot be read
│   └── PathRefused              transient: one path cannot be used; pauses its product only
├── LedgerError              exit 5: the ledger file cannot be used; pauses everything
├── AlreadyRunning           exit 4: another instance holds the lock
├── ItemRejected             a catalog item that cannot become a product
│   └── ItemSkipped          a catalog item of a kind that is not mirrored; no fault
├── ResourceError            the machine lacks memory, threads or files; pauses everything
├── QueueError               transient: FORCE's queue file cannot be read or written
├── UnexpectedError          probably a bug in s2mirror; transient; no product is to blame
├── RepeatedError            exit 70: the same with several products; pauses everything
├── Stopped                  the operator or the system stopped the mirror; pauses everything
└── IllegalTransition        a bug in s2mirror

The class attributes of MirrorError decide what an error means for a product and for the work;
no other module decides by an error's class.
"""

from typing import ClassVar


class MirrorError(Exception):
    """Base of all errors that s2mirror raises on purpose."""

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False
    """Whether the same request may succeed later."""
    pauses_everything: ClassVar[bool] = False
    """Whether the next product would have the same error: all work pauses until it is resolved."""
    counts_as_attempt: ClassVar[bool] = True
    """Whether the product may be the cause: its attempts are limited."""
    quarantines: ClassVar[bool] = False
    """Whether the product waits longer between attempts, and after the last one is put in
    quarantine, with its files, instead of ``failed``."""

    def __init__(self, text: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds
        """How long the service asked to wait; None if it did not say."""


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
    """An outside service did not do its part."""

    exit_code = 3


class CatalogError(OutsideError):
    """The STAC catalog sent a response that no retry will change."""


class CatalogUnavailable(CatalogError):
    """The STAC catalog cannot be reached or is busy; try again later."""

    transient = True


class AlertError(OutsideError):
    """A ping or message to the operators was not delivered; the work continues."""


class StoreError(OutsideError):
    """The S3 store refused one object or product; a retry will not change that soon."""


class StoreUnavailable(StoreError):
    """The S3 store cannot be reached or is busy; try again later."""

    transient = True


class StoreBusy(StoreUnavailable):
    """The S3 store asks for fewer requests; every product waits, none is to blame."""

    counts_as_attempt = False


class StoreUnreachable(StoreUnavailable):
    """No request gets through to the S3 store; no product is to blame."""

    pauses_everything = True
    counts_as_attempt = False


class StoreSlow(StoreUnavailable):
    """A connection was closed because its rate was below the minimum."""


class StoreChanged(StoreError):
    """An object is no longer what was listed; list the product again and continue."""

    transient = True


class TokenError(OutsideError):
    """The token endpoint sent a response that no retry will change."""


class TokenUnavailable(TokenError):
    """The token endpoint cannot be reached or is busy; try again later."""

    transient = True


class PreviewError(OutsideError):
    """A preview cannot be made, and a retry will not change that.

    ``units`` are the processing units that the request cost nevertheless.
    """

    def __init__(
        self, text: str = "", *, units: float = 0.0, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(text, retry_after_seconds=retry_after_seconds)
        self.units = units


class PreviewUnavailable(PreviewError):
    """The service that renders previews cannot be reached or is busy; try again later."""

    transient = True


class CredentialError(MirrorError):
    """A key or client is wrong, expired or lacks a right; no product is to blame."""

    exit_code = 6
    pauses_everything = True
    counts_as_attempt = False


class KeyRefused(CredentialError):
    """This key pair is refused; another one may work."""


class QuotaError(MirrorError):
    """The account's quota is used up; no product is to blame."""

    exit_code = 7
    pauses_everything = True
    counts_as_attempt = False


class IntegrityError(MirrorError):
    """Bytes differ from what the catalog, the listing or the manifest announced.

    A proxy or the store may have damaged them, so they are downloaded again before the product is
    put in quarantine.
    """

    transient = True
    quarantines = True


class HostileInput(IntegrityError):
    """A name, key, document or size that no honest source sends."""


class ArchiveError(MirrorError):
    """The disk, its capacity or the archive's ``archive_id`` stops the work."""

    exit_code = 5
    pauses_everything = True
    counts_as_attempt = False


class FileLost(ArchiveError):
    """The bytes of a file cannot be read: it is gone, or its disk reports an error."""


class PathRefused(ArchiveError):
    """One path of the archive is a link, cannot be seen or is taken; its product waits."""

    transient = True
    pauses_everything = False


class LedgerError(MirrorError):
    """The ledger file cannot be used as it is."""

    exit_code = 5
    pauses_everything = True
    counts_as_attempt = False


class AlreadyRunning(MirrorError):
    """Another process works with the same ledger."""

    exit_code = 4


class ItemRejected(MirrorError):
    """A catalog item that cannot become a product; it is recorded and stops nothing."""


class ItemSkipped(ItemRejected):
    """A catalog item of a kind that is not mirrored, which is no fault; it is counted."""


class ResourceError(MirrorError):
    """The machine has no memory, threads or open files left; no product is to blame."""

    pauses_everything = True
    counts_as_attempt = False


class QueueError(MirrorError):
    """FORCE's queue file cannot be read or written; all other work continues."""

    transient = True


class UnexpectedError(MirrorError):
    """An error that s2mirror does not expect, with one product."""

    transient = True
    counts_as_attempt = False


class RepeatedError(MirrorError):
    """The same unexpected error with several products: probably the next one would have it too."""

    exit_code = 70
    pauses_everything = True
    counts_as_attempt = False


class Stopped(MirrorError):
    """The work was stopped on request; what was done so far is kept."""

    transient = True
    pauses_everything = True
    counts_as_attempt = False


class IllegalTransition(MirrorError):
    """The table of states has no such transition: a bug in s2mirror."""
