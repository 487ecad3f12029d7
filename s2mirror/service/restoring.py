"""Restoration of removed products: here, or in the daemon for a command."""

from collections.abc import Sequence

from s2mirror.errors import MirrorError
from s2mirror.service.local_catalog import update_whole_local_catalog
from s2mirror.service.logs import log
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror
from s2mirror.steps.restore import Restorer


def restore_products(
    mirror: Mirror, ids: Sequence[str], *, pin: bool, dry_run: bool = False
) -> Values:
    """Restore products from trash or quarantine, or queue their download.

    A refused product does not stop the others. With *dry_run*, nothing changes.
    """
    mirror.require_archive()
    restorer = Restorer(ledger=mirror.ledger, archive=mirror.archive, template=mirror.template)
    origins: dict[str, str] = {}
    refused: dict[str, str] = {}
    exit_code = 0
    for product_id in ids:
        try:
            with mirror.locks("prune"):  # which deletes what is due in the trash
                origins[product_id] = _restored(mirror, restorer, product_id, pin=pin, dry=dry_run)
        except MirrorError as error:
            refused[product_id] = str(error)
            exit_code = max(exit_code, error.exit_code)
    if not dry_run:
        update_whole_local_catalog(mirror)
    return {
        "restored": origins,
        "refused": refused,
        "pinned": pin,
        "dry_run": dry_run,
        "exit_code": exit_code,
    }


def _restored(mirror: Mirror, restorer: Restorer, product_id: str, *, pin: bool, dry: bool) -> str:
    """Restore one product unless this is a dry run; return where it comes from."""
    source = restorer.find(product_id)
    if not dry:
        restorer.restore(source, pin=pin, now=mirror.now())
        log.info("product.restored", product=product_id, origin=source.origin)
    return source.origin
