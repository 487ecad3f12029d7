"""Search for a test's secrets in output and in files.

``conftest.py`` does so after every test. A secret that is found fails the test; the message names
it and does not repeat it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

SHORTEST: Final = 8
"""A shorter secret could be part of an ordinary word."""
MOST_BYTES: Final = 32 * 1024**2
_NAMED: Final = re.compile(r"S2MIRROR_\w*SECRET(?!\w*_FILE$)\w*")
_FILES: Final = re.compile(r"S2MIRROR_\w+_FILE|CREDENTIALS_DIRECTORY")
_TOKEN: Final = re.compile(rb"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
"""A JSON web token, as the sandbox issues them."""
_PRODUCTS: Final = (".SAFE", ".part")


class Leaks:
    """The secrets of a test, the folders to search, and what was found."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, str] = {}
        self._own: set[Path] = set()
        self._folders: list[Path] = []
        self._found: dict[str, None] = {}

    def plant(self, environment: Mapping[str, str]) -> None:
        """Record the secrets of an environment, and the files that contain secrets."""
        for name, value in environment.items():
            if _NAMED.fullmatch(name) and len(value) >= SHORTEST:
                self._secrets[value.encode()] = name
                self._secrets[quote(value, safe="").encode()] = name
            elif _FILES.fullmatch(name):
                self._own.add(Path(value))

    def watch(self, folder: Path) -> None:
        """Search every file of a folder at the end of the test."""
        self._folders.append(folder)

    def look(self, text: str | bytes | None, where: str) -> None:
        """Search an output."""
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text or b""
        for secret, name in self._secrets.items():
            if secret in data:
                self._found[f"{name} can be read in {where}"] = None
        if _TOKEN.search(data):
            self._found[f"an access token can be read in {where}"] = None

    def harvest(self) -> list[str]:
        """Search the folders; return everything found since the last call, and reset."""
        for folder in self._folders:
            for path in self._files(folder):
                with suppress(OSError), path.open("rb") as file:
                    self.look(file.read(MOST_BYTES), str(path))
        found = list(self._found)
        self._folders, self._found, self._own = [], {}, set()
        return found

    def _files(self, folder: Path) -> Iterator[Path]:
        """Yield the files that a mirror wrote, without products, token and secret files."""
        for here, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.endswith(_PRODUCTS)]
            for path in (Path(here, name) for name in names):
                plain = not path.is_symlink() and path.is_file()
                if plain and path.suffix != ".token" and not self._is_own(path):
                    yield path

    def _is_own(self, path: Path) -> bool:
        return path in self._own or path.parent in self._own


LEAKS: Final = Leaks()
