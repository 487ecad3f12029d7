"""The exchange with FORCE by its queue file: after each cycle, and as a job of the daemon."""

from typing import TYPE_CHECKING

from s2mirror.adapters.force_queue import ForceQueue
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import FORCE_FAILED, FORCE_QUEUE
from s2mirror.config import Settings
from s2mirror.planning.facts import ForceFacts, Trouble
from s2mirror.steps.force_queue import ForceHandOver
from s2mirror.times import parse_utc

if TYPE_CHECKING:
    from s2mirror.service.wiring import Mirror


def exchange_with_force(mirror: "Mirror") -> list[str]:
    """Hand products over to FORCE, if it is configured; return those that it has processed."""
    # `health` reads the facts below without these.
    from s2mirror.service.logs import log  # noqa: PLC0415
    from s2mirror.service.processing import processor  # noqa: PLC0415

    path = mirror.settings.processing.force_queue
    if path is None:
        return []
    step = ForceHandOver(
        ledger=mirror.ledger,
        archive=mirror.archive,
        queue=ForceQueue(path),
        entries=processor(mirror).entries,
        now=mirror.now,
    )
    done = step.exchange()
    if done.queued:
        log.info("force.queued", products=done.queued, path=str(path))
    for product_id in done.failed:
        log.warning("force.failed", product=product_id, path=str(path))
    return done.processed


def force_facts(settings: Settings, ledger: Ledger) -> ForceFacts:
    """Return what the last exchange with FORCE has found."""
    last = ledger.state.get(FORCE_QUEUE)
    if settings.processing.force_queue is None or last is None:
        return ForceFacts()
    failed = ledger.state.get(FORCE_FAILED) or {}
    first = min(failed, key=lambda product_id: failed[product_id], default="")
    return ForceFacts(
        trouble=Trouble(text=last.trouble, since=last.since) if last.trouble else None,
        failed=len(failed),
        failed_id=first,
        failed_since=parse_utc(failed[first]) if first else None,
        bad_lines=last.bad_lines,
        first_bad=last.first_bad,
    )
