"""Select the files of a product: those of its areas, requested ones, and held ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from s2mirror.area import WatchArea
from s2mirror.manifest import ManifestObject
from s2mirror.model import LedgerEntry, Listing
from s2mirror.selection import WHOLE, Selection


@dataclass(frozen=True, slots=True)
class SelectionPolicy:
    """The files that the configured areas want of their products."""

    by_area: Mapping[str, Selection]

    @classmethod
    def of_areas(cls, areas: Iterable[WatchArea]) -> "SelectionPolicy":
        """Return the policy of *areas*."""
        return cls({area.name: area.selection for area in areas})

    def wanted_by_areas(self, entry: LedgerEntry) -> Selection:
        """Return the files that the areas of a product want; all files if it has no area."""
        found = [self.by_area[name] for name in entry.areas if name in self.by_area]
        selected = found[0] if found else WHOLE
        for more in found[1:]:
            selected |= more
        return selected

    def of(self, entry: LedgerEntry, asked: Selection | None) -> Selection:
        """Return the files to download; *asked* are the files that a person requested, if any.

        Always includes the files that are held already.
        """
        selected = self.wanted_by_areas(entry)
        if asked is not None:
            selected |= asked
        return selected | entry.selection if entry.path is not None else selected


@dataclass(frozen=True, slots=True)
class SelectedFiles:
    """A product's files in the store, and the selected ones among them."""

    selection: Selection
    whole: Listing

    @property
    def listing(self) -> Listing:
        """Return the selected part of the listing."""
        paths = self.selection.paths([file.path for file in self.whole.files])
        return replace(self.whole, files=tuple(f for f in self.whole.files if f.path in paths))

    def required(self, promised: Mapping[str, ManifestObject]) -> dict[str, ManifestObject]:
        """Return the selected objects of the manifest."""
        return required(self.selection, promised, [file.path for file in self.whole.files])


def required(
    selection: Selection, promised: Mapping[str, ManifestObject], others: Iterable[str]
) -> dict[str, ManifestObject]:
    """Return the objects of a manifest that *selection* includes, given all *others* too."""
    paths = selection.paths({*promised, *others})
    return {path: found for path, found in promised.items() if path in paths}
