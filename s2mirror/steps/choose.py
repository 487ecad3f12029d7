"""Decide which discovered products go into the queue."""

from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import Event, State
from s2mirror.model import Entry, Verdict
from s2mirror.planning.downloads import DownloadPlan, expected_bytes, plan_downloads


def plan(ledger: Ledger, archive: Archive, *, reserve_bytes: int) -> DownloadPlan:
    """Return which discovered products have room on the disk now, and why the others wait."""
    queued = ledger.products.in_state(State.QUEUED, State.DOWNLOADING)
    return plan_downloads(
        ledger.products.in_state(State.DISCOVERED),
        promised_bytes=sum(_still_needed_bytes(entry, archive) for entry in queued),
        free_bytes=archive.free_bytes(),
        reserve_bytes=reserve_bytes,
    )


def choose(ledger: Ledger, archive: Archive, *, reserve_bytes: int, now: datetime) -> DownloadPlan:
    """Queue what :func:`plan` lets start."""
    chosen = plan(ledger, archive, reserve_bytes=reserve_bytes)
    for entry in chosen.start:
        ledger.products.advance(entry, Verdict(event=Event.SELECT), now=now)
    return chosen


def _still_needed_bytes(entry: Entry, archive: Archive) -> int:
    return max(0, expected_bytes(entry) - archive.stage(entry.product.id).size_bytes())
