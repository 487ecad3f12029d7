"""Certificates of completeness: made on demand, the last one kept for ``status``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.planning.searches import Search
from s2mirror.service.wiring import Mirror
from s2mirror.steps.audit import Fault
from s2mirror.steps.certify import Certificate
from s2mirror.times import parse_utc

_FACT: Final = "certificate.{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the last certificate of an area said."""

    checked_at: datetime
    published: int
    held: int
    missing: int
    complete: bool


def certify(mirror: Mirror, searches: Sequence[Search]) -> tuple[Certificate, ...]:
    """Reconcile catalog, ledger and disk; keep a summary of each area's outcome."""
    found = mirror.certifier().certify(searches, now=mirror.now())
    for certificate in found:
        summary = asdict(summary_of(certificate))
        summary["checked_at"] = certificate.checked_at.isoformat()
        mirror.ledger.set_state_value(_FACT.format(certificate.area), json.dumps(summary))
    return found


def summary_of(certificate: Certificate) -> Summary:
    """Return a certificate's sums over all months."""
    return Summary(
        checked_at=certificate.checked_at,
        published=sum(month.published for month in certificate.months),
        held=sum(month.held for month in certificate.months),
        missing=len(certificate.missing),
        complete=certificate.complete,
    )


def last_summary(ledger: Ledger, area: str) -> Summary | None:
    """Return what the last certificate of *area* said; None if it was never certified."""
    text = ledger.state_value(_FACT.format(area))
    if text is None:
        return None
    said = json.loads(text)
    return Summary(**{**said, "checked_at": parse_utc(said["checked_at"])})


def faults_of(certificate: Certificate) -> list[Fault]:
    """Return what breaks the promise that everything in scope is accounted for."""
    unaccounted = certificate.missing | certificate.unreadable
    return [
        Fault(invariant="accounted", product=product_id, detail=f"{certificate.area}: {why}")
        for product_id, why in unaccounted.items()
    ]
