"""The user's own processing: one table per command, and how consumers mark products."""

import re
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from s2mirror.config import fields
from s2mirror.config.areas import Collection, Name
from s2mirror.config.errors import did_you_mean

_NOT_FOR_FORCE: Final = re.compile(r"[^\w./:,=@~-]")
"""FORCE splits its queue at spaces, and uses each path as a pattern of ``sed``."""


class ProcessEntry(fields.Section):
    """A processing entry: a command that runs for each archived product."""

    name: Name = Field(description='a name of its own, such as "cloud-mask"')
    command: Annotated[tuple[fields.Argument, ...], Field(min_length=1)] = Field(
        description='an argument list, such as ["/usr/local/bin/my-chain", "{path}"]'
    )
    """An argument list, run without a shell."""
    areas: tuple[Name, ...] = ()
    """Empty: products of every area."""
    collections: tuple[Collection, ...] = ()
    """Empty: every collection."""
    needs: tuple[Name, ...] = ()
    """The names of entries that run before this one."""
    parallel: Annotated[int, fields.whole(1, 64)] = 1
    """How many runs of this entry there are at the same time."""
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
    return value


def _in_order(entries: tuple[ProcessEntry, ...]) -> tuple[ProcessEntry, ...]:
    """Return *entries*, each of a name of its own, if their needs allow an order."""
    names = [entry.name for entry in entries]
    for entry in entries:
        if names.count(entry.name) > 1:
            raise ValueError(f"expected a name of its own for each; got two {entry.name!r}")
        for need in set(entry.needs) - set(names):
            hint = did_you_mean(need, names)
            raise ValueError(
                f"expected needs that name other entries; got {need!r} in {entry.name!r}{hint}"
            )
    try:
        TopologicalSorter({entry.name: entry.needs for entry in entries}).prepare()
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise ValueError(f"expected needs without a circle; got: {circle}") from error
    return entries


Entries = Annotated[tuple[ProcessEntry, ...], BeforeValidator(_tables), AfterValidator(_in_order)]
