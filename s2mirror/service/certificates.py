"""Certificates of completeness: issued on demand, the last one is kept for ``status``."""

from collections.abc import Sequence

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import CertificateRecord, certificate_key
from s2mirror.planning.searches import Search
from s2mirror.service.wiring import Mirror
from s2mirror.steps.audit import Fault
from s2mirror.steps.certify import Certificate


def certify(mirror: Mirror, searches: Sequence[Search]) -> tuple[Certificate, ...]:
    """Compare catalog, ledger and disk; keep the totals of each area."""
    found = mirror.certifier().certify(searches, now=mirror.now())
    for certificate in found:
        mirror.ledger.state.set(certificate_key(certificate.area), summary_of(certificate))
    return found


def summary_of(certificate: Certificate) -> CertificateRecord:
    """Return a certificate's totals over all months."""
    return CertificateRecord(
        checked_at=certificate.checked_at,
        published=sum(month.published for month in certificate.months),
        held=sum(month.held for month in certificate.months),
        missing=len(certificate.missing),
        complete=certificate.complete,
    )


def last_summary(ledger: Ledger, area: str) -> CertificateRecord | None:
    """Return the totals of the last certificate of *area*; None if there is none."""
    return ledger.state.get(certificate_key(area))


def faults_of(certificate: Certificate) -> list[Fault]:
    """Return the products in scope that are not accounted for."""
    unaccounted = certificate.missing | certificate.unreadable
    return [
        Fault(invariant="accounted", product=product_id, detail=f"{certificate.area}: {why}")
        for product_id, why in unaccounted.items()
    ]
