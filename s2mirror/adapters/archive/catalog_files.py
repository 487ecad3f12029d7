"""The files of a static STAC catalog: written atomically, and empty if damaged."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from s2mirror.adapters.archive.tree import Tree
from s2mirror.stac import Box, catalog

LIST: Final = "catalog.json"
COLLECTION: Final = "collection.json"
GEOPARQUET: Final = "items.parquet"
CollectionExtent = tuple[Box, str]
"""West, south, east, north in whole degrees, and the first month's start."""


def link(rel: str, href: str, *, title: str = "") -> dict[str, str]:
    """Return a link to a document of this catalog."""
    kind = "application/geo+json" if rel == "item" else "application/json"
    return {"rel": rel, "href": href, "type": kind, **({"title": title} if title else {})}


def write_list(tree: Tree, folder: Path, title: str, links: Iterable[Mapping[str, str]]) -> None:
    """Write a catalog's list of links; the caller syncs its folder."""
    name = title.replace(", ", "-").replace(" ", "-")
    write(tree, folder / LIST, catalog(name, title, list(links)))


def write(tree: Tree, path: Path, document: Mapping[str, Any]) -> None:
    """Write a document unless the same is stored already; the caller syncs its folder."""
    data = json.dumps(document, separators=(",", ":")).encode()
    if not tree.is_file(path) or tree.read_bytes(path) != data:
        tree.write_whole(path, data)


def read(tree: Tree, path: Path) -> dict[str, Any]:
    """Return a document; empty if it is missing or damaged."""
    try:
        found = json.loads(tree.read_bytes(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def leads_to(tree: Tree, path: Path, href: str) -> bool:
    """Return whether a list has a link, without parsing it: it may be long."""
    try:
        return f'"href":"{href}"'.encode() in tree.read_bytes(path)
    except OSError:
        return False


def items_in(tree: Tree, folder: Path) -> list[str]:
    """Return the names of the items in a folder."""
    names = (entry.name for entry in tree.entries(folder))
    return sorted(name[:-5] for name in names if name.endswith(".json") and name != LIST)


def folders_in(tree: Tree, folder: Path, with_file: str = LIST) -> set[str]:
    """Return the names of the folders that have a list."""
    names = subfolders(tree, folder)
    return {name for name in names if tree.is_file(folder / name / with_file)}


def subfolders(tree: Tree, folder: Path) -> list[str]:
    """Return the names of the folders in a folder, in order; of links to folders, none."""
    return [e.name for e in tree.entries(folder) if e.is_dir(follow_symlinks=False)]


def remove_folder(tree: Tree, folder: Path) -> None:
    """Remove a folder with its lists, unless it has files of others."""
    for name in (LIST, COLLECTION, GEOPARQUET):
        tree.remove_file(folder / name)
    tree.remove_empty_folder(folder)
    tree.sync_folder(folder.parent)


def extent_of(found: Mapping[str, Any]) -> CollectionExtent | None:
    """Return a collection's extent; None if it has none in the form written here."""
    try:
        west, south, east, north = found["extent"]["spatial"]["bbox"][0]
        return (west, south, east, north), str(found["extent"]["temporal"]["interval"][0][0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def joined(extents: Iterable[CollectionExtent | None]) -> CollectionExtent | None:
    """Return the extent that covers all of *extents*; None if there are none."""
    known = [extent for extent in extents if extent is not None]
    if not known:
        return None
    boxes = [box for box, _ in known]
    west, south = (min(box[side] for box in boxes) for side in (0, 1))
    east, north = (max(box[side] for box in boxes) for side in (2, 3))
    return (west, south, east, north), min(start for _, start in known)
