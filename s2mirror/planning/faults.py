"""The faults that an audit names, and the command that cures each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class FaultKind(StrEnum):
    """What is wrong, for programs."""

    FILE = "file"
    """A file of a product is missing, cannot be read, or has other bytes."""
    STRAY = "stray"
    """A file within a product that belongs to no list of its files."""
    SUBFOLDER = "subfolder"
    """A folder that a SAFE needs is missing within a product."""
    FILE_LIST = "file list"
    """The ledger has no list of a product's files."""
    MANIFEST = "manifest"
    """A product's manifest cannot be used, or differs from the list of its files."""
    FOLDER = "folder"
    """A held product has no folder in the tree, or in the ledger."""
    REFUSED = "refused"
    """What is in the place of a product's folder is no folder that the mirror uses."""
    UNKNOWN = "unknown"
    """A folder of a product that the ledger knows and that is not held."""
    COPY = "copy"
    """Another folder of a product that is held."""
    REASON = "reason"
    """A failed product without a reason."""
    INTERRUPTED = "interrupted"
    """A product in progress while no mirror runs."""
    WAITING = "waiting"
    """A product that waits for its download, and whose folder exists."""
    MISSING = "missing"
    """A product in scope that the ledger does not account for."""
    CATALOG = "catalog"
    """The local catalog differs from the ledger."""


REMEDIES: Final[Mapping[FaultKind, str]] = MappingProxyType(
    {
        FaultKind.FILE: "s2mirror audit --repair",
        FaultKind.STRAY: "s2mirror audit --repair",
        FaultKind.SUBFOLDER: "s2mirror audit --repair",
        FaultKind.FILE_LIST: "s2mirror audit --repair",
        FaultKind.MANIFEST: "s2mirror audit --repair",
        FaultKind.FOLDER: "s2mirror audit --repair",
        FaultKind.REFUSED: "s2mirror audit --repair",
        FaultKind.UNKNOWN: "s2mirror adopt {path}",
        FaultKind.COPY: "s2mirror audit --repair",
        FaultKind.REASON: "s2mirror requeue {product}",
        FaultKind.INTERRUPTED: "s2mirror sync",
        FaultKind.WAITING: "s2mirror sync",
        FaultKind.MISSING: "s2mirror sync",
        FaultKind.CATALOG: "s2mirror catalog rebuild",
    }
)
"""The command that cures each kind of fault."""
_INVARIANTS: Final[Mapping[FaultKind, str]] = MappingProxyType(
    dict.fromkeys(("file", "stray", "subfolder", "file list", "manifest"), "proven")  # type: ignore[arg-type]  # the values of FaultKind
    | {
        FaultKind.FOLDER: "ledger",
        FaultKind.REFUSED: "ledger",
        FaultKind.UNKNOWN: "whole",
        FaultKind.COPY: "whole",
        FaultKind.REASON: "accounted",
        FaultKind.INTERRUPTED: "accounted",
        FaultKind.MISSING: "accounted",
        FaultKind.WAITING: "idempotent",
        FaultKind.CATALOG: "catalog",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One violation of an invariant."""

    kind: FaultKind
    product: str
    """ID of the product, or path of a folder that belongs to no product."""
    detail: str
    file: str = ""
    """The path within the product, or of a folder; empty if the fault is of the whole product."""
    invariant: str = ""
    remedy: str = ""
    """The command that cures the fault."""

    def __post_init__(self) -> None:
        """Set what follows from the kind."""
        object.__setattr__(self, "invariant", _INVARIANTS[self.kind])
        object.__setattr__(
            self, "remedy", REMEDIES[self.kind].format(product=self.product, path=self.file)
        )
