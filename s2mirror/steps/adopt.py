"""Adopt a product that is on disk already: verify it by its own manifest, and publish it.

A product whose folder is in the archive is verified there. Any other is collected in staging file
by file, as a copy or a hard link, and each file is hashed from the bytes that were placed; then one
rename publishes the product, as after a download. The source is not changed: a move removes its
files only after the ledger has the product.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from s2mirror.adapters.archive import (
    Archive,
    FolderSource,
    FoundProduct,
    ProductSource,
    Unadopted,
    explained,
)
from s2mirror.adapters.ledger import AdoptedProduct
from s2mirror.checksum import stac_digest
from s2mirror.errors import IntegrityError, PathRefused
from s2mirror.layout import check_product_path, product_path
from s2mirror.manifest import required_folders
from s2mirror.model import PINNED, LedgerEntry, Product, VerifiedFile
from s2mirror.planning.scope import Scope
from s2mirror.radiometry import UNKNOWN_RADIOMETRY, Radiometry, parse_radiometry
from s2mirror.safe_metadata import product_of, revision_of
from s2mirror.selection import WHOLE, Selection
from s2mirror.steps.adopted_files import (
    FileVerifier,
    Place,
    copying_into,
    linking_into,
    read_in_place,
)
from s2mirror.steps.file_selection import required
from s2mirror.steps.source_contents import Contents, examine, open_source


class Mode(StrEnum):
    """How a product gets into the archive."""

    IN_PLACE = "in-place"
    """It stays where it is, below the archive root."""
    LINK = "link"
    """Hard links: the bytes exist once, and a program that changes them changes both."""
    COPY = "copy"
    MOVE = "move"
    """Links or copies; then the source is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptOptions:
    """What a person asked for."""

    mode: Mode | None = None
    """None: in place below the archive root, copies otherwise."""
    complete: bool = False
    """Whether incomplete products are queued, so that only their missing files are downloaded."""
    processed: bool | None = None
    """Whether the products are processed; None: as markers and queue files say."""
    pin: bool = True
    """Whether products that no area wants are pinned, so that nothing removes them."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A product that was found, and what ledger and catalog know about it."""

    found: FoundProduct
    processed: bool
    entry: LedgerEntry | None = None
    listed: Product | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A product that is ready to be recorded."""

    adopted: AdoptedProduct
    source: Path
    strays: tuple[str, ...]
    """Files of the source that were not adopted."""
    republished: bool
    """Whether the catalog lists it with another manifest."""
    incomplete: str = ""
    """Why the rest must be downloaded; empty if the product is published."""
    stage_folder: bool = False
    """Whether its folder in the archive becomes the staged one, without its strays, once the ledger
    has it queued; otherwise its good files are staged already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductAdopter:
    """Adopts one product after the other up to the ledger. Any thread may use it."""

    archive: Archive
    verifier: FileVerifier
    options: AdoptOptions
    template: str
    scope: Scope
    selections: Mapping[str, Selection]
    """Which files each configured area wants."""

    def prepare(self, candidate: Candidate) -> Prepared | Unadopted:
        """Verify and publish a product; or leave it as it is and return why."""
        found = candidate.found
        try:
            with open_source(found) as source:
                return self._prepared(candidate, source)
        except (IntegrityError, PathRefused) as error:
            # Files that an unfinished download has staged are not lost.
            if not (self.options.dry_run or candidate.entry):
                self.archive.discard_stage(found.product_id)
            return Unadopted(path=str(found.path), reason=str(error))

    def _prepared(self, candidate: Candidate, source: ProductSource) -> Prepared:
        """Raise IntegrityError or PathRefused if the product cannot be adopted."""
        found = candidate.found
        contents = examine(source, found.product_id)
        product = _product_of(candidate, contents)
        mode, path = self._target(found, product)
        if mode is not Mode.IN_PLACE and self.archive.holds(path):
            # Published by an adoption that was interrupted, or by a person.
            mode, source = Mode.IN_PLACE, FolderSource(self.archive.folder(path))
            contents = examine(source, found.product_id)
        draft = self._draft(candidate, contents, product, path)
        selection = self._selection(draft.areas, contents)
        lacking = "" if selection is not None else _lacking(contents.lacking, contents)
        if lacking and not self.options.complete:
            raise IntegrityError(f"{lacking}; add --complete to download the rest")
        verified = self.verifier.verify(source, contents.wanted, self._place(mode, found))
        damage = f"it is damaged: {_shown(verified.damaged)}" if verified.damaged else ""
        if damage and not self.options.complete:
            raise IntegrityError(f"{damage}; add --complete to download these files")
        incomplete = lacking or damage
        if not (incomplete or self.options.dry_run):
            self._publish(mode, found.product_id, path, verified.files)
        return Prepared(
            adopted=replace(draft, files=verified.files, selection=selection or WHOLE),
            source=found.path,
            strays=contents.strays,
            republished=_differs(product.revision, draft.product.revision),
            incomplete=incomplete,
            stage_folder=bool(incomplete) and mode is Mode.IN_PLACE,
        )

    def _draft(
        self, candidate: Candidate, contents: Contents, product: Product, path: str
    ) -> AdoptedProduct:
        """Return what the ledger is to have of a product, except its verified files."""
        found = candidate.found
        moves = self.options.mode is Mode.MOVE and not found.zipped
        return AdoptedProduct(
            product=replace(product, revision=revision_of(contents.document)),
            path=path,
            files=(),
            areas=self._areas(candidate, product),
            whole_bytes=sum(found.size_bytes for found in contents.promised.values()),
            radiometry=_radiometry(contents),
            properties=candidate.properties,
            processed=candidate.processed,
            reason=f"adopted from {found.path}",
            moved_from=str(found.path) if moves and not self._is_at(found, path) else "",
        )

    def _target(self, found: FoundProduct, product: Product) -> tuple[Mode, str]:
        """Return how a product gets into the archive, and its path there."""
        own = self._path_below_root(found.path)
        mode = self.options.mode or (Mode.IN_PLACE if own else Mode.COPY)
        if mode is not Mode.IN_PLACE or (found.zipped and own):
            return Mode.COPY if found.zipped else mode, product_path(self.template, product)
        if not own:
            raise IntegrityError("it is not in the archive; use --link, --copy or --move")
        return mode, check_product_path(found.product_id, own)

    def _path_below_root(self, path: Path) -> str:
        root = self.archive.root.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else ""

    def _is_at(self, found: FoundProduct, path: str) -> bool:
        return self._path_below_root(found.path) == path

    def _areas(self, candidate: Candidate, product: Product) -> tuple[str, ...]:
        """Return the areas that want a product; if none does, it is pinned."""
        known = candidate.entry.areas if candidate.entry else ()
        wanting = self.scope.wanting(product)
        if wanting or not self.options.pin or {*known} & {PINNED, *self.selections}:
            return wanting
        return (PINNED,)

    def _selection(self, areas: Iterable[str], contents: Contents) -> Selection | None:
        """Return which files the product has: all, or those that its areas want; else None."""
        if not contents.lacking:
            return WHOLE
        wanted = [self.selections[name] for name in areas if name in self.selections]
        if not wanted or PINNED in areas:
            return None
        selection = wanted[0]
        for more in wanted[1:]:
            selection |= more
        needed = required(selection, contents.promised, contents.sizes)
        return None if needed.keys() & {*contents.lacking} else selection

    def _place(self, mode: Mode, found: FoundProduct) -> Place:
        """Return what happens to each file."""
        if self.options.dry_run or mode is Mode.IN_PLACE:
            return read_in_place
        stage = self.archive.stage(found.product_id)
        if mode is Mode.COPY:
            return copying_into(stage)
        return linking_into(stage, or_copy=mode is not Mode.LINK)

    def _publish(
        self, mode: Mode, product_id: str, path: str, files: Iterable[VerifiedFile]
    ) -> None:
        """Publish a staged product; of one that is in the tree, create the empty folders."""
        paths = {file.path for file in files}
        if mode is Mode.IN_PLACE:
            with explained(f"creating folders in {path}"):
                for needed in required_folders(paths):
                    folder = self.archive.folder(path) / needed
                    self.archive.tree.make_folder(folder, durable=False)
            return
        stage = self.archive.stage(product_id)
        for other in stage.files().keys() - paths:
            stage.drop(other)
        stage.make_folders(required_folders(paths))
        self.archive.publish(product_id, path)


def _product_of(candidate: Candidate, contents: Contents) -> Product:
    """Return the ledger's product, the catalog's, or the one that its own files describe."""
    if candidate.entry:
        return candidate.entry.product
    if candidate.listed:
        return candidate.listed
    return product_of(candidate.found.product_id, contents.document, contents.metadata)


def _differs(listed: str, own: str) -> bool:
    """Return whether the catalog lists another manifest; False if it does not say."""
    digest = stac_digest(listed)
    return digest is not None and digest.algorithm == "md5" and digest != stac_digest(own)


def _radiometry(contents: Contents) -> Radiometry:
    return parse_radiometry(contents.metadata) if contents.metadata else UNKNOWN_RADIOMETRY


def _lacking(paths: tuple[str, ...], contents: Contents) -> str:
    return (
        f"{len(paths)} of the {len(contents.promised)} files of its manifest are missing or have "
        f"another size, such as {paths[0]}"
    )


def _shown(damaged: tuple[str, ...]) -> str:
    more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    return f"{damaged[0]}{more}"
