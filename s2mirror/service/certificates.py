"""Certificates of completeness: issued on demand and at night; the last one is kept."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import CertificateRecord, certificate_key
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.planning.faults import Fault, FaultKind
from s2mirror.planning.searches import Search
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.certify import Certificate, Certifier
from s2mirror.stop import StopFlag

_NIGHT_FROM: Final = 22
_NIGHT_UNTIL: Final = 6
_RETRY: Final = timedelta(days=1)
"""After a certificate by one catalog only."""


def certify(
    mirror: Mirror, searches: Sequence[Search], stop: StopFlag | None = None
) -> tuple[Certificate, ...]:
    """Compare both catalogs, ledger and disk; keep the totals of each area.

    Products in scope that only OData lists are recorded, so that they are downloaded. Raises
    CatalogError if the STAC catalog cannot be listed.
    """
    from s2mirror.service import clients  # noqa: PLC0415 - see there

    poller = mirror.poller()
    certifier = Certifier(
        catalog=poller.catalog,
        odata=clients.odata_catalog(mirror.settings, mirror.service_dates),
        ledger=mirror.ledger,
        archive=mirror.archive,
        on_unlisted=poller.record,
    )
    found = certifier.certify(searches, stop or StopFlag(), now=mirror.now())
    for certificate in found:
        mirror.ledger.state.set(certificate_key(certificate.area), summary_of(certificate))
    return found


def certify_at_night(mirror: Mirror, stop: StopFlag) -> None:
    """Certify each area that is due, one after the other, until the night ends.

    The last certificate of each area is in the ledger, so that a stop costs one area at most.
    Raises CatalogError at once if the STAC catalog is away, and after the other areas if the
    listing of one area cannot be used.
    """
    failed: dict[str, CatalogError] = {}
    while is_night(mirror.now(), mirror.settings.download.time_zone):
        name = next((name for name in _due(mirror) if name not in failed), None)
        if name is None:
            break
        stop.raise_if_set()
        try:
            (found,) = certify(mirror, mirror.searches_of([name]), stop)
        except CatalogUnavailable:
            raise
        except CatalogError as error:
            failed[name] = error
            continue
        log.info(
            "area.certified",
            area=name,
            complete=found.complete,
            missing=len(found.missing),
            one_catalog=found.one_catalog,
        )
    for failure in failed.values():
        raise failure


def is_night(now: datetime, zone: ZoneInfo) -> bool:
    """Return whether it is between 22:00 and 06:00 in a time zone."""
    hour = now.astimezone(zone).hour
    return hour >= _NIGHT_FROM or hour < _NIGHT_UNTIL


def _due(mirror: Mirror) -> Iterator[str]:
    """Yield the areas whose last certificate is too old."""
    every, now = mirror.settings.catalog.compare_every, mirror.now()
    if every is None:
        return
    for name in mirror.area_names:
        last = last_summary(mirror.ledger, name)
        wait = every if last is None or last.two_catalogs else min(every, _RETRY)
        if last is None or abs(now - last.checked_at) >= wait:
            yield name


def summary_of(certificate: Certificate) -> CertificateRecord:
    """Return a certificate's totals over all months."""
    return CertificateRecord(
        checked_at=certificate.checked_at,
        published=sum(month.published for month in certificate.months),
        held=sum(month.held for month in certificate.months),
        missing=len(certificate.missing),
        complete=certificate.complete,
        two_catalogs=not certificate.one_catalog,
    )


def last_summary(ledger: Ledger, area: str) -> CertificateRecord | None:
    """Return the totals of the last certificate of *area*; None if there is none."""
    return ledger.state.get(certificate_key(area))


def faults_of(certificate: Certificate) -> list[Fault]:
    """Return the products in scope that are not accounted for."""
    unaccounted = certificate.missing | certificate.unreadable
    return [
        Fault(kind=FaultKind.MISSING, product=product_id, detail=f"{certificate.area}: {why}")
        for product_id, why in unaccounted.items()
    ]
