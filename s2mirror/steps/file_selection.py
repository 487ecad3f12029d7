"""Which files of a product are wanted: by its areas, by a person, or because they are held."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from s2mirror.area import WatchArea
from s2mirror.manifest import ManifestObject
from s2mirror.model import ASKED_FOR, LedgerEntry, Listing
from s2mirror.selection import WHOLE, Selection


@dataclass(frozen=True, slots=True)
class SelectionPolicy:
    """What the areas, as they are configured now, want of their products."""

    by_area: Mapping[str, Selection]

    @classmethod
    def of_areas(cls, areas: Iterable[WatchArea]) -> "SelectionPolicy":
        """Return what *areas* want; who asks for a product by name wants all of it."""
        return cls({area.name: area.selection for area in areas} | {ASKED_FOR: WHOLE})

    def wanted_by_areas(self, entry: LedgerEntry) -> Selection:
        """Return what the areas of a product want together; of nobody's product, everything."""
        found = [self.by_area[name] for name in entry.areas if name in self.by_area]
        selected = found[0] if found else WHOLE
        for more in found[1:]:
            selected |= more
        return selected

    def of(self, entry: LedgerEntry, asked: Selection | None) -> Selection:
        """Return what to fetch of a product that a person *asked* for, or None did.

        Never less than what stands in the tree already.
        """
        selected = self.wanted_by_areas(entry)
        if asked is not None:
            selected |= asked
        return selected | entry.selection if entry.path is not None else selected


@dataclass(frozen=True, slots=True)
class SelectedFiles:
    """A product's files in the store, and which of them to bring."""

    selection: Selection
    whole: Listing

    @property
    def listing(self) -> Listing:
        """Return the wanted part of the listing."""
        paths = self.selection.paths([file.path for file in self.whole.files])
        return replace(self.whole, files=tuple(f for f in self.whole.files if f.path in paths))

    def required(self, promised: Mapping[str, ManifestObject]) -> dict[str, ManifestObject]:
        """Return those objects of the manifest that are wanted."""
        return required(self.selection, promised, [file.path for file in self.whole.files])


def required(
    selection: Selection, promised: Mapping[str, ManifestObject], others: Iterable[str]
) -> dict[str, ManifestObject]:
    """Return those objects of a manifest that *selection* wants of a product with *others* too."""
    paths = selection.paths({*promised, *others})
    return {path: found for path, found in promised.items() if path in paths}
