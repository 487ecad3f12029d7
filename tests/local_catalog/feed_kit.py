"""What a reader of the change feed knows of an archive."""

import json
import os
from pathlib import Path
from typing import Any

from kit import Kit


def lines_of(root: Path) -> list[dict[str, Any]]:
    """Return every line of a feed, in the order of its files."""
    closed = sorted(root.glob("changes-*.ndjson"), key=lambda file: int(file.name.split("-")[1]))
    found = []
    for file in [*closed, root / "changes.ndjson"]:
        if file.exists():
            text = file.read_text(encoding="utf-8")
            assert not text or text.endswith("\n"), "the last line is whole"
            found += [json.loads(line) for line in text.splitlines()]
    return found


def changes_of(kit: Kit) -> list[tuple[str, str]]:
    """Return kind and product of every line of a mirror's feed."""
    return [(line["kind"], line["id"]) for line in lines_of(kit.archive)]


def replayed(lines: list[dict[str, Any]]) -> dict[str, int]:
    """Return size by path of every file that a reader has at the end."""
    products: dict[str, dict[str, int]] = {}
    for line in lines:
        if line["old_path"]:
            del products[line["old_path"]]
        if line["path"]:
            assert line["path"] not in products
            products[line["path"]] = {path: size for path, size, _ in line["files"]}
    return {
        f"{folder}/{p}": size for folder, files in products.items() for p, size in files.items()
    }


def product_files(root: Path) -> dict[str, int]:
    """Return size by path of every file of a product in an archive."""
    found = {}
    for folder, _, names in os.walk(root):
        below = Path(folder).relative_to(root)
        if ".s2mirror" not in below.parts and any(part.endswith(".SAFE") for part in below.parts):
            found |= {str(below / name): Path(folder, name).stat().st_size for name in names}
    return found


def assert_feed_tells_the_archive(kit: Kit) -> None:
    """Assert that the lines have every number once, and lead to what the archive holds."""
    lines = lines_of(kit.archive)
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    assert replayed(lines) == product_files(kit.archive)
