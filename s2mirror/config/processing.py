"""The user's own processing: one table per command, and how consumers mark products."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from s2mirror.config import fields
from s2mirror.config.areas import Name

_NOT_FOR_FORCE: Final = re.compile(r"[^\w./:,=@~-]")
"""FORCE splits its queue at spaces, and uses each path as a pattern of ``sed``."""


class ProcessEntry(fields.Section):
    """A processing entry: a command that runs for each archived product."""

    name: Name = Field(description='a name of its own, such as "cloud-mask"')
    command: Annotated[tuple[fields.Argument, ...], Field(min_length=1)] = Field(
        description='an argument list, such as ["/usr/local/bin/my-chain", "{path}"]'
    )
    """An argument list, run without a shell."""
    timeout: fields.PositiveDuration = timedelta(hours=1)
    max_attempts: Annotated[int, fields.whole(1, 1000)] = 5


class Processing(fields.Section):
    """How consumers tell that they have processed a product."""

    marker_suffix: Annotated[
        str, fields.pattern(r"\.(?!SAFE$)[A-Za-z0-9._-]{1,32}", 'a suffix such as ".processed"')
    ] = ".processed"
    force_queue: fields.AnyPath | None = None
    """FORCE's queue, to which archived products of level 1C are added; None for none."""

    def check_root(self, root: Path) -> None:
        """Raise ValueError if FORCE could not use or update queue lines of the archive *root*."""
        if self.force_queue is not None and (bad := _NOT_FOR_FORCE.search(str(root))):
            raise ValueError(
                f"expected no force_queue, or an archive whose path has only letters, digits and "
                f"./_-:,=@~; FORCE cannot use {bad[0]!r} in {root}"
            )


_SINGLE_TABLE: Final = (
    "expected [[process]] tables; got the single table [process]. Write [[process]] and "
    'name = "my-chain" above command, timeout and max_attempts, and put marker_suffix into a table '
    "[processing]"
)


def _tables(value: object) -> object:
    """Return a list of tables; the single table of earlier versions is refused with advice."""
    if isinstance(value, dict):
        raise ValueError(_SINGLE_TABLE)  # noqa: TRY004 - pydantic reports a ValueError
    if not isinstance(value, list | tuple):
        raise fields.unexpected("[[process]] tables", value)
    if len(value) > 1:
        raise ValueError(f"expected one [[process]] table at most; got {len(value)}")
    return value


Entries = Annotated[tuple[ProcessEntry, ...], BeforeValidator(_tables)]
