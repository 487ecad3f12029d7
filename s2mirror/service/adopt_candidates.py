"""What is to be adopted, and what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s2mirror.adapters.archive import (
    FoundProduct,
    FoundQueue,
    Unadopted,
    find_products,
    read_queue,
)
from s2mirror.adapters.force_queue import QueueStatus, parse_queue
from s2mirror.naming import plain_id
from s2mirror.steps.adopt import AdoptOptions, Candidate


@dataclass(slots=True, kw_only=True)
class AdoptResult:
    """What became of everything that was found."""

    adopted: dict[str, str] = field(default_factory=dict)
    """The path in the archive of each adopted product; in a dry run, the one it would have."""
    processed: list[str] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)
    """Adopted products that no area wants."""
    queued: dict[str, str] = field(default_factory=dict)
    """Incomplete products whose other files are to be downloaded, with the reason."""
    held: dict[str, str] = field(default_factory=dict)
    """Where products are that the archive has already, by the path that was found."""
    refused: list[Unadopted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0

    @property
    def exit_code(self) -> int:
        """1 if a product could not be adopted."""
        return int(any(not found.foreign for found in self.refused))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptRequest:
    """What a person asked for, and how."""

    paths: Sequence[Path]
    options: AdoptOptions = field(default_factory=AdoptOptions)
    offline: bool = False
    """Whether the STAC catalog is not asked."""
    on_found: Callable[[int], None] = lambda _: None
    on_bytes: Callable[[int], None] = lambda _: None


def candidates_of(
    request: AdoptRequest, result: AdoptResult, *, marker_suffix: str
) -> list[Candidate]:
    """Return every product below the given paths, each once, with its processed mark.

    What is no product is added to *result*. Raises UsageError if a path does not exist.
    """
    found: dict[str, FoundProduct] = {}
    done: set[str] = set()
    for path in request.paths:
        for one in find_products(path, marker_suffix=marker_suffix):
            if isinstance(one, Unadopted):
                result.refused.append(one)
            elif isinstance(one, FoundQueue):
                done |= _done(one.path)
            elif (first := found.setdefault(one.product_id, one)).path != one.path:
                reason = f"the same product is also at {first.path}, which is adopted instead"
                result.refused.append(Unadopted(path=str(one.path), reason=reason))
    given = request.options.processed
    return [
        Candidate(found=one, processed=one.marked or name in done if given is None else given)
        for name, one in found.items()
    ]


def _done(path: Path) -> set[str]:
    """Return the ids that a queue file has as done."""
    text = read_queue(path).decode(errors="replace")
    found: dict[str, QueueStatus] = {}
    for line in parse_queue(text):
        name = plain_id(line.path)
        if line.status is not QueueStatus.DONE or name not in found:
            found[name] = line.status
    return {name for name, status in found.items() if status is QueueStatus.DONE}
