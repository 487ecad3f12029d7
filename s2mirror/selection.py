"""The wanted files of a SAFE: all, or some by band, resolution or pattern.

Every selection includes the metadata, so that the product can be opened and verified, and the
quicklook, which has a hundredth of a percent of the bytes.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

BANDS: Final = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
    *("AOT", "SCL", "TCI", "WVP", "CLD", "SNW"),
)
RESOLUTIONS: Final = ("10m", "20m", "60m")

# Names before December 2016 have another beginning, and the same end.
_IMAGE: Final = re.compile(
    r"GRANULE/[^/]+/IMG_DATA/(?:R\d\dm/)?[^/]*_(?P<band>[A-Z0-9]{3})(?:_(?P<resolution>\d\dm))?\.jp2"
    r"|GRANULE/[^/]+/QI_DATA/MSK_(?P<mask>CLD|SNW)PRB_(?P<grid>\d\dm)\.jp2"
)
_BAND_MASK: Final = re.compile(r"GRANULE/[^/]+/QI_DATA/[^/]*MSK_[^/]*_(?P<band>B\d[0-9A])[^/]*")
_ANY_BAND: Final = "B00"
_L1C_GRIDS: Final = {
    **dict.fromkeys(("B02", "B03", "B04", "B08", "TCI"), "10m"),
    **dict.fromkeys(("B01", "B09", "B10"), "60m"),
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Choice:
    """The files that one area wants; all files if every field is empty."""

    bands: tuple[str, ...] = ()
    """Each in the given resolutions, or in its finest one."""
    resolutions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Patterns for paths below the product folder; ``*`` matches slashes too. They add files."""

    @property
    def everything(self) -> bool:
        """Whether all files are wanted."""
        return not (self.bands or self.resolutions or self.files)

    def __str__(self) -> str:
        """Return a text for people."""
        grids = f"at {', '.join(self.resolutions)}" if self.resolutions else ""
        images = " ".join(part for part in (", ".join(self.bands), grids) if part)
        return "; ".join(part for part in (images, ", ".join(self.files)) if part)

    def paths(self, paths: Collection[str]) -> frozenset[str]:
        """Return the wanted ones of a product's *paths*."""
        if self.everything:
            return frozenset(paths)
        images = self._images(paths)
        bands = {_ANY_BAND, *(_image(path)[0] for path in images)} if images else set()
        return frozenset(
            path
            for path in paths
            if path in images or _is_metadata(path) or _masks(path) in bands or self._fits(path)
        )

    def covers(self, other: "Choice") -> bool:
        """Return whether this includes all files of *other*; False if in doubt."""
        images = self.resolutions == other.resolutions and (
            set(self.bands) >= set(other.bands) and bool(self.bands) == bool(other.bands)
        )
        return self.everything or (
            not other.everything and images and set(self.files) >= set(other.files)
        )

    def _images(self, paths: Collection[str]) -> frozenset[str]:
        if not (self.bands or self.resolutions):
            return frozenset()
        found = {path: _image(path) for path in paths if _IMAGE.fullmatch(path)}
        finest: dict[str, str] = {}
        for band, grid in found.values():
            finest[band] = min(grid, finest.get(band, grid))
        return frozenset(
            path
            for path, (band, grid) in found.items()
            if (not self.bands or band in self.bands)
            and grid in (self.resolutions or (finest[band],))
        )

    def _fits(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self.files)


@dataclass(frozen=True, slots=True)
class Selection:
    """The files that all areas and persons want of a product."""

    choices: frozenset[Choice] = frozenset()
    """Empty: all files."""

    @property
    def whole(self) -> bool:
        """Whether all files are wanted."""
        return not self.choices or any(choice.everything for choice in self.choices)

    def __or__(self, other: "Selection") -> "Selection":
        """Return the union of both selections."""
        return WHOLE if self.whole or other.whole else Selection(self.choices | other.choices)

    def __str__(self) -> str:
        """Return a text for people."""
        return "everything" if self.whole else " | ".join(map(str, sorted(self.choices)))

    def paths(self, paths: Collection[str]) -> frozenset[str]:
        """Return the wanted ones of a product's *paths*."""
        if self.whole:
            return frozenset(paths)
        return frozenset().union(*(choice.paths(paths) for choice in self.choices))

    def covers(self, other: "Selection") -> bool:
        """Return whether this includes all files of *other*; False if in doubt."""
        if self.whole or other.whole:
            return self.whole
        return all(any(mine.covers(its) for mine in self.choices) for its in other.choices)


WHOLE: Final = Selection()


def chosen(
    *, bands: Iterable[str] = (), resolutions: Iterable[str] = (), files: Iterable[str] = ()
) -> Selection:
    """Return the selection of one area; areas that want the same have equal selections."""
    choice = Choice(
        bands=tuple(sorted(set(bands))),
        resolutions=tuple(sorted(set(resolutions))),
        files=tuple(sorted(set(files))),
    )
    return WHOLE if choice.everything else Selection(frozenset({choice}))


def to_text(selection: Selection) -> str:
    """Return a selection as text that :func:`from_text` reads; equal ones give equal text."""
    if selection.whole:
        return "[]"
    return json.dumps(
        [[choice.bands, choice.resolutions, choice.files] for choice in sorted(selection.choices)]
    )


def from_text(text: str) -> Selection:
    """Return the selection that :func:`to_text` wrote."""
    return Selection(
        frozenset(
            Choice(bands=tuple(bands), resolutions=tuple(resolutions), files=tuple(files))
            for bands, resolutions, files in json.loads(text)
        )
    )


def _image(path: str) -> tuple[str, str]:
    """Return the band and the resolution of an image's path."""
    match = _IMAGE.fullmatch(path)
    if match is None:
        return "", ""
    if match["mask"]:
        return match["mask"], match["grid"]
    return match["band"], match["resolution"] or _L1C_GRIDS.get(match["band"], "20m")


def _is_metadata(path: str) -> bool:
    """Return whether a file is metadata, which every selection includes."""
    folder, _, name = path.rpartition("/")
    return name.endswith((".xml", ".safe", "-ql.jpg")) or folder.endswith("/AUX_DATA")


def _masks(path: str) -> str:
    match = _BAND_MASK.fullmatch(path)
    return match["band"] if match else ""
