"""Decide which staged files may be used: only versions that the store lists now."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from s2mirror import manifest
from s2mirror.adapters.archive import Stage
from s2mirror.checksum import new_hasher, stac_digest
from s2mirror.errors import IntegrityError, StoreUnavailable
from s2mirror.manifest import ManifestObject
from s2mirror.model import LedgerEntry, Listing

TRUSTED_AFTER_ATTEMPTS: Final = 3
Versions = Mapping[str, tuple[str, int]]
"""ETag and size in bytes by path."""


def drop_stale(stage: Stage, known: Versions, listing: Listing) -> None:
    """Drop staged files of other versions than the listed one.

    *known* has the version of each file. A complete file of unknown origin is kept at first, as its
    digest may verify it; see :func:`drop_unverifiable`. An incomplete manifest is dropped: after a
    power cut it may contain anything, and it has no digest.
    """
    selected = {file.path: (file.etag, file.size_bytes) for file in listing.files}
    for path, size_bytes in stage.files().items():
        _, wanted_bytes = selected.get(path, ("", -1))
        if size_bytes != wanted_bytes or known.get(path, selected[path]) != selected[path]:
            stage.drop(path)
    for path, size_bytes in stage.partial_files().items():
        if (
            path not in selected
            or known.get(path) != selected[path]
            or size_bytes > selected[path][1]
        ):
            stage.drop(path)
    if manifest.NAME not in known or manifest.NAME in stage.partial_files():
        stage.drop(manifest.NAME)


def accounted(stage: Stage, known: Versions, listing: Listing) -> Listing:
    """Return *listing* without the complete staged files of unknown origin.

    It may be stored before the first byte arrives: files staged from now on are of these versions.
    """
    unknown = set(stage.files()) - set(known)
    return replace(listing, files=tuple(f for f in listing.files if f.path not in unknown))


def drop_unverifiable(
    stage: Stage, known: Versions, promised: Mapping[str, ManifestObject]
) -> None:
    """Drop files without a digest: complete ones of unknown origin, and all incomplete ones."""
    for path in stage.files():
        if path not in known and path not in promised and path != manifest.NAME:
            stage.drop(path)
    for path in stage.partial_files():
        if path not in promised:
            stage.drop(path)


def check_announced(document: bytes, entry: LedgerEntry) -> None:
    """Raise StoreUnavailable if the catalog lists another manifest than the store has.

    Then the store may still have the version before a republication. After some attempts the
    store's manifest is accepted, as the catalog's checksum may be wrong.
    """
    announced = stac_digest(entry.product.revision)
    if (
        announced is None
        or announced.algorithm != "md5"
        or entry.attempts >= TRUSTED_AFTER_ATTEMPTS
    ):
        return
    hasher = new_hasher(announced.algorithm)
    hasher.update(document)
    if hasher.hexdigest() != announced.hexdigest:
        raise StoreUnavailable(
            f"catalog and store disagree: the catalog lists {manifest.NAME} with the MD5 digest "
            f"{announced.hexdigest}, the store's has {hasher.hexdigest()}; the mirror tries again "
            f"and accepts the store's after {TRUSTED_AFTER_ATTEMPTS} attempts"
        )


def check_promises(promised: Mapping[str, ManifestObject], listing: Listing) -> None:
    """Raise unless the store has every file of the manifest, with the same size."""
    sizes = {file.path: file.size_bytes for file in listing.files}
    if missing := sorted(set(promised) - set(sizes)):
        raise StoreUnavailable(
            f"the store lacks {len(missing)} of the {len(promised)} objects of {manifest.NAME}, "
            f"{missing[0]} first: the catalog is ahead of the store; will be tried again"
        )
    for path, found in promised.items():
        if sizes[path] != found.size_bytes:
            raise IntegrityError(
                f"{path} has {sizes[path]} B in the store, {found.size_bytes} B in "
                f"{manifest.NAME}; the product is damaged at its source"
            )
