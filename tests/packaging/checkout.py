"""The checkout's own files, read as lines and as instructions."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
UNIT: Final = ROOT / "systemd" / "s2mirror.service"
DOCKERFILE: Final = ROOT / "Dockerfile"


def directives(unit: str) -> list[tuple[str, str]]:
    """Return the ``Key=value`` lines of a *unit* in order, as (key, value)."""
    lines = [line for line in unit.splitlines() if line[:1].isalpha()]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def uncommented(unit: str) -> list[str]:
    """Return each directive of *unit* that has no comment on the line above it."""
    lines = unit.splitlines()
    return [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if line[:1].isalpha() and not above.startswith("# ")
    ]


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return a *dockerfile*'s instructions in order, as (NAME, the rest on one line)."""
    kept = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    joined = "\n".join(kept).replace("\\\n", " ")
    words = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, " ".join(rest.split())) for name, rest in words]
