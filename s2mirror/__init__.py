"""s2mirror keeps a local Sentinel-2 archive current, every byte proven."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from s2mirror.api import Mirror

__all__ = ["USER_AGENT", "Mirror", "__version__"]
__version__ = "0.1.0"
USER_AGENT: Final = f"s2mirror/{__version__}"
"""The HTTP User-Agent of every request."""


def __getattr__(name: str) -> object:
    """Import :class:`Mirror` on first use, as the command line does not need it."""
    if name == "Mirror":
        from s2mirror.api import Mirror  # noqa: PLC0415 - see above

        return Mirror
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
