"""Reads what is known about the bytes in the archive: their last verification, and damage."""

from dataclasses import replace

from s2mirror.adapters.ledger import Ledger
from s2mirror.config import Settings
from s2mirror.planning.scrub import ScrubFacts


def scrub_facts(settings: Settings, ledger: Ledger) -> ScrubFacts:
    """Return the facts by which the soundness of the archive is judged."""
    progress, damages = ledger.verifications.progress(), list(ledger.verifications.damages())
    return ScrubFacts(
        every=settings.scrub.every,
        works=progress is not None,
        oldest_at=ledger.verifications.oldest_at(),
        damaged=tuple((damage.product_id, damage.detail) for damage in damages),
        damaged_since=damages[0].found_at if damages else None,
        stopped=progress.stopped if progress else "",
        stopped_at=progress.at if progress and progress.stopped else None,
    )


def release_scrub(ledger: Ledger) -> None:
    """Have the scrub read again, after a person has looked at the disk."""
    progress = ledger.verifications.progress()
    if progress and progress.stopped:
        released = replace(progress, stopped="", products=0, damaged=0)
        ledger.verifications.set_progress(released)
