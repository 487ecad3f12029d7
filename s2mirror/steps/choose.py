"""Decide which discovered products go into the queue."""

from collections.abc import Collection
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import Event, State
from s2mirror.model import Entry, Verdict
from s2mirror.planning.downloads import DownloadPlan, expected_bytes, plan_downloads


def choose(
    ledger: Ledger,
    archive: Archive,
    *,
    reserve_bytes: int,
    now: datetime,
    areas: Collection[str] = (),
) -> DownloadPlan:
    """Queue discovered products, of *areas* if any are given, as far as the disk has room.

    Returns what was queued, and why the others wait.
    """
    waiting = ledger.products.in_state(State.DISCOVERED)
    if areas:
        waiting = [entry for entry in waiting if set(areas) & set(entry.areas)]
    queued = ledger.products.in_state(State.QUEUED, State.DOWNLOADING)
    plan = plan_downloads(
        waiting,
        promised_bytes=sum(_still_needed_bytes(entry, archive) for entry in queued),
        free_bytes=archive.free_bytes(),
        reserve_bytes=reserve_bytes,
    )
    for entry in plan.start:
        ledger.products.advance(entry, Verdict(event=Event.SELECT), now=now)
    return plan


def _still_needed_bytes(entry: Entry, archive: Archive) -> int:
    return max(0, expected_bytes(entry) - archive.stage(entry.product.id).size_bytes())
