"""Runs of processing entries on request: of named products, or of what failed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from s2mirror.area import check_area_names
from s2mirror.errors import UsageError
from s2mirror.model import LedgerEntry
from s2mirror.planning.processing import applying
from s2mirror.process_model import ProcessRun, RunState
from s2mirror.service.processing import Wanted, process_due, processor
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror
from s2mirror.stop import StopFlag

_UNSETTLED = frozenset({RunState.WAITING, RunState.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRequest:
    """Which runs a person asks for."""

    ids: list[str] = field(default_factory=list)
    """Products of which every entry that applies runs again."""
    failed: bool = False
    """Whether all runs are repeated that fail now."""
    name: str = ""
    """Only this entry; empty: any."""
    area: str = ""
    """Only products of this area; empty: any."""

    def arguments(self) -> dict[str, Any]:
        """Return these values as arguments of a request to the daemon."""
        return {"ids": self.ids, "failed": self.failed, "name": self.name, "area": self.area}


Pairs = tuple[tuple[str, str], ...]
"""Products and entries."""


def chosen_runs(mirror: Mirror, asked: ProcessRequest) -> tuple[Pairs, Mapping[str, str]]:
    """Return the runs that a request chooses, and why it chooses none of a product.

    Raises UsageError for an unknown entry or area.
    """
    names = [entry.name for entry in mirror.settings.process]
    if asked.name and asked.name not in names:
        known = ", ".join(names) or "none is configured"
        raise UsageError(f"there is no processing entry {asked.name!r}; known: {known}")
    if asked.area:
        check_area_names([asked.area], mirror.area_names)
    chosen: list[tuple[str, str]] = []
    refused = {}
    if asked.failed:
        wanted = [asked.name] if asked.name else names
        chosen += mirror.ledger.process_reports.failed(wanted, asked.area) if wanted else ()
    known_products = mirror.ledger.products.find(asked.ids)
    for product_id in asked.ids:
        entry = known_products.get(product_id)
        if entry is None or entry.path is None:
            refused[product_id] = _absent(product_id, entry)
        elif asked.area and asked.area not in entry.areas:
            refused[product_id] = f"the product does not belong to the area {asked.area}"
        else:
            step = processor(mirror)
            found = applying(step.entries, entry.product.collection, entry.areas)
            mine = [one.name for one in found if asked.name in ("", one.name)]
            chosen += [(product_id, name) for name in mine]
            if not mine:
                refused[product_id] = "no such processing entry applies to the product"
    return tuple(dict.fromkeys(chosen)), refused


def _absent(product_id: str, entry: LedgerEntry | None) -> str:
    """Return why nothing runs for a product without a folder, and what brings it."""
    if entry is None:
        return f"the ledger does not know the product; `s2mirror why {product_id}` says why"
    return (
        f"the product is {entry.state}, and not in the archive; `s2mirror restore {product_id}` "
        "brings a removed one back"
    )


def run_again(
    mirror: Mirror,
    asked: ProcessRequest,
    stop: StopFlag,
    *,
    on_end: Callable[[ProcessRun], None] = lambda _: None,
) -> Values:
    """Run what a request chooses, in this process; return the result as values."""
    pairs, refused = chosen_runs(mirror, asked)
    processor(mirror).ask(pairs)
    wanted = Wanted(
        names=frozenset(name for _, name in pairs), ids=frozenset(one for one, _ in pairs)
    )
    if pairs:
        process_due(mirror, stop, on_end=on_end, wanted=wanted)
    stop.raise_if_set()
    return process_values(mirror, pairs, refused)


def is_settled(mirror: Mirror, pairs: Pairs) -> bool:
    """Return whether no requested run is under way or waits for a thread."""
    return all(_state(mirror, one, name) not in _UNSETTLED for one, name in pairs)


def _state(mirror: Mirror, product_id: str, name: str) -> RunState | None:
    found = mirror.ledger.process.statuses(product_id).get(name)
    return found.state if found else None


def process_values(
    mirror: Mirror, pairs: Iterable[tuple[str, str]], refused: Mapping[str, str]
) -> Values:
    """Return the states of the requested runs as values."""
    runs = []
    for product_id, name in pairs:
        found = mirror.ledger.process.statuses(product_id).get(name)
        runs.append(
            {
                "id": product_id,
                "entry": name,
                # A mark by the command or a person ends what has not run.
                "state": found.state if found else RunState.DONE,
                "reason": found.reason if found else "",
            }
        )
    return {"runs": runs, "refused": dict(refused)}
