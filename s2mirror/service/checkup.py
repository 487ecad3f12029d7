"""`s2mirror check`: try every folder and service that the configuration names."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from s2mirror.adapters.archive import Archive, filesystem_kind
from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.lock import holder_pid
from s2mirror.adapters.objectstore import S3Store, StoreOptions
from s2mirror.adapters.stac_catalog import StacApiCatalog
from s2mirror.adapters.tokens import ClientTokens
from s2mirror.clean_text import format_count
from s2mirror.config import Settings
from s2mirror.errors import (
    ArchiveError,
    CatalogError,
    CredentialError,
    LedgerError,
    MirrorError,
)
from s2mirror.model import Product
from s2mirror.planning.area_estimates import MONTH, NOTHING, MonthlyAmount, ProductCount, recent
from s2mirror.planning.findings import Severity
from s2mirror.planning.previews import month_of
from s2mirror.planning.searches import Search, plan_query, plan_searches
from s2mirror.preview_model import PreviewSource
from s2mirror.service.account import key_expiries, key_expiry_notes, key_problems
from s2mirror.service.clients import stac_options, store_options, store_targets
from s2mirror.service.config_check import Check, area_checks, watch_areas
from s2mirror.service.deadline import Deadline
from s2mirror.service.ledger_file import refuse_network_file_system, require_identity
from s2mirror.service.previews import preview_rules
from s2mirror.service.relayout import relocator_of
from s2mirror.service.sync_plan import existing
from s2mirror.service.wiring import utc_now
from s2mirror.stop import StopFlag

_COUNTED_PAGES: Final = 20
_COUNTED_PRODUCTS: Final = 1001
MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""S3 refuses every signature from 15 minutes on; the check warns long before."""


def checkup(settings: Settings, limit: timedelta) -> Iterator[Check]:
    """Yield the result of each check as soon as it is known; a failure does not end the checks."""
    deadline = Deadline(limit)
    searches = plan_searches(watch_areas(settings))
    yield deadline.check("ledger", lambda: _ledger(settings.ledger.path))
    yield deadline.check("archive", lambda: _archive(settings))
    yield deadline.check("lock", lambda: _lock(settings.ledger.path))
    catalog = StacApiCatalog(replace(stac_options(settings), page_size=1, tries=2))
    listed = deadline.check("catalog", lambda: _catalog(catalog, searches))
    yield listed
    yield deadline.check("clock", lambda: _clock(catalog.server_time(), utc_now()))
    counted = None if listed.exit_code else deadline.get(lambda: _count(settings, utc_now()))
    yield from area_checks(settings, counted)
    yield deadline.check("store", lambda: _store(settings, catalog, searches))
    yield from _alternatives(settings, deadline)
    yield deadline.check("key expiry", lambda: _key_expiry(settings))
    if any(rule.source is PreviewSource.PROCESS for rule in preview_rules(settings).values()):
        yield deadline.check("previews", lambda: _previews(settings))


def _count(settings: Settings, now: datetime) -> dict[str, MonthlyAmount]:
    """Count the images of the last month of each area; no account is needed for that.

    Of a very long listing, the newest part counts.
    """
    catalog = StacApiCatalog(stac_options(settings))
    counted: dict[str, MonthlyAmount] = {}
    for search in plan_searches(recent(watch_areas(settings), now - MONTH)):
        query = plan_query(search, None, overlap=search.interval)
        count = ProductCount(areas=search.areas, since=now - MONTH, until=now)
        pages = catalog.search(query)
        for page in islice(pages, _COUNTED_PAGES):
            count.add(page.products)
        whole = next(pages, None) is None
        for name, amount in count.amounts(whole=whole).items():
            counted[name] = amount + counted.get(name, NOTHING)
    return counted


def _ledger(path: Path) -> str:
    refuse_network_file_system(path)
    kind = filesystem_kind(path)
    if not path.exists():
        if not _may_write(folder := _nearest(path.parent)):
            raise LedgerError(
                f"{path}: this user has no permission to write in {folder}; set ledger.path"
            )
        return f"{path} (on {kind}) will be created at the first sync"
    ledger = open_ledger(path, create=False)
    ledger.check_whole()
    ledger.close()
    return f"{path} (on {kind}) is undamaged"


def _archive(settings: Settings) -> str:
    archive = Archive(settings.archive.root)
    free_bytes, reserve_bytes = existing(archive).free_bytes(), settings.archive.reserve_bytes
    space = f"{free_bytes / 1e9:.1f} GB free, {reserve_bytes / 1e9:.1f} GB of it kept free"
    if free_bytes <= reserve_bytes:
        raise ArchiveError(
            f"{archive.root}: {space}: no product can be downloaded; "
            "free disk space, or lower archive.reserve"
        )
    if not _may_write(folder := _nearest(archive.root)):
        raise ArchiveError(
            f"{archive.root}: this user has no permission to write in {folder}; "
            "grant it, or set archive.root to another folder"
        )
    elsewhere = _check_products(settings, archive) + _unknown_products(settings, archive)
    state = "is an archive" if archive.archive_id() else "will be created at the first sync"
    return f"{archive.root} (on {filesystem_kind(archive.root)}) {state}; {space}{elsewhere}"


def _check_products(settings: Settings, archive: Archive) -> str:
    """Raise ArchiveError for another archive; return a note on products of another layout."""
    if not settings.ledger.path.exists():
        return ""
    with closing(open_ledger(settings.ledger.path, create=False)) as ledger:
        require_identity(ledger, archive)
        if elsewhere := relocator_of(ledger, archive, settings).count():
            return (
                f"; {format_count(elsewhere, 'product')} at paths of another layout, where they "
                "may stay: `s2mirror relayout` moves them"
            )
    return ""


def _unknown_products(settings: Settings, archive: Archive) -> str:
    """Return a note on products of an archive that its new ledger does not know."""
    if settings.ledger.path.exists() or not archive.root.is_dir():
        return ""
    found = [*islice(archive.product_paths(), _COUNTED_PRODUCTS)]
    if not found:
        return ""
    count = f"more than {_COUNTED_PRODUCTS - 1}" if len(found) == _COUNTED_PRODUCTS else len(found)
    return (
        f"; it has {count} product folders already, such as {found[0]}: `s2mirror adopt "
        f"{archive.root}` takes them into the ledger without a download"
    )


def _nearest(folder: Path) -> Path:
    """Return *folder*, or its closest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _lock(path: Path) -> str:
    pid = holder_pid(path)
    return "no s2mirror runs with this ledger" if pid is None else f"process {pid} has the lock"


def _catalog(catalog: StacApiCatalog, searches: tuple[Search, ...]) -> str:
    known = catalog.collections()
    needed = {search.collection for search in searches}
    if missing := sorted(needed - known):
        raise CatalogError(
            f"the catalog has no collection {missing[0]!r}; it has {len(known)} others; "
            "check catalog.url"
        )
    backend = catalog.backend(min(needed))
    return f"has {', '.join(sorted(needed))}; its backend is {backend}"


def _clock(server_time: datetime, local_time: datetime) -> str:
    skew = local_time - server_time
    if abs(skew) > MAX_CLOCK_SKEW:
        raise MirrorError(
            f"this machine's clock differs from the catalog's by {skew}; "
            "set it (NTP), because the store refuses signatures with a wrong time"
        )
    return f"within {abs(skew).total_seconds():.0f} s of the catalog's"


def _store(settings: Settings, catalog: StacApiCatalog, searches: tuple[Search, ...]) -> str:
    store = S3Store(store_options(settings))
    try:
        product = _any_product(catalog, searches)
    except CatalogError:  # the check of the catalog reports this
        store.probe()
        return "the keys are valid; no product was read, because the catalog failed"
    if product is None:
        store.probe()
        return "the keys are valid; no area has a product yet, so none was read"
    listing = store.list_product(product.s3_prefix)
    smallest = min(listing.files, key=lambda file: file.size_bytes, default=None)
    if smallest is None:
        return f"the keys are valid; {product.id} has no objects yet"
    read_bytes = sum(len(chunk) for chunk in store.read(smallest))
    return f"the keys are valid; read {smallest.path} ({read_bytes} B) of {product.id}"


def _alternatives(settings: Settings, deadline: Deadline) -> Iterator[Check]:
    """Try every other endpoint and key pair.

    A default fallback endpoint may fail, as the configuration does not ask for it.
    """
    try:
        options, targets = store_options(settings), store_targets(settings)
    except CredentialError:  # reported by the check of the store
        return
    configured = settings.store.fallback_endpoints is not None
    for endpoint in targets.endpoints[1:]:
        probe = partial(_probe, replace(options, endpoint=endpoint))
        check = deadline.check(f"store {endpoint}", probe)
        optional = check.exit_code and not configured
        yield replace(check, exit_code=0, severity=Severity.NOTICE) if optional else check
    for access_key, secret_key in targets.keys[1:]:
        second = replace(options, access_key=access_key, secret_key=secret_key)
        yield deadline.check("key pair 2", partial(_probe, second))


def _probe(options: StoreOptions) -> str:
    S3Store(options).probe()
    return "responds; the keys are valid"


def _key_expiry(settings: Settings) -> str:
    if problems := key_problems(settings, now=utc_now()):
        raise CredentialError("; ".join(problems))
    if notes := key_expiry_notes(settings, now=utc_now()):
        return "; ".join(note.text for note in notes)
    last_days = [f"pair {e.number}: {e.expires_on:%Y-%m-%d}" for e in key_expiries(settings)]
    return ", ".join(last_days) or "not known; set store.key_expires to get a warning in time"


def _previews(settings: Settings) -> str:
    """Get a token and the account's balance, which are free of charge; an image is not.

    A token of the cache would say nothing about the secret of today.
    """
    from s2mirror.adapters.previews import account_balance  # noqa: PLC0415 - as below
    from s2mirror.service.preview_client import (  # noqa: PLC0415 - see there
        hub_options,
        token_options,
    )

    with TemporaryDirectory() as folder:
        options = replace(token_options(settings), cache_file=Path(folder) / "token")
        token = ClientTokens(options, utc_now).token(StopFlag())
    balance = account_balance(hub_options(settings), token)
    told = ", ".join(f"{name} {number:,.10g}" for name, number in balance.items())
    return f"{settings.endpoints.token_url} issued a token to the OAuth client; " + (
        f"the account's balance by Sentinel Hub: {told}" if told else _counted(settings)
    )


def _counted(settings: Settings) -> str:
    """Return what the ledger counts of the month, for an account whose balance is not known."""
    text = "Sentinel Hub did not state the account's balance"
    if not settings.ledger.path.exists():
        return text
    ledger = open_ledger(settings.ledger.path, create=False, read_only=True)
    spent = ledger.previews.spending(month_of(utc_now()))
    ledger.close()
    return (
        f"{text}; s2mirror counted {spent.requests} requests and {spent.units:.2f} units this month"
    )


def _any_product(catalog: StacApiCatalog, searches: tuple[Search, ...]) -> Product | None:
    for search in searches:
        page = next(catalog.search(plan_query(search, None, overlap=search.interval)), None)
        if page is not None and page.products:
            return page.products[0]
    return None
