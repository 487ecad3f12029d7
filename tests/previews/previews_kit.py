"""Tokens and previews on a sandbox, with a clock that tests set."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from builders import NOW
from leaks import LEAKS

from s2mirror.adapters.previews import HubOptions, SentinelHub
from s2mirror.adapters.tokens import ClientTokens, TokenOptions
from s2mirror.config.previews import script_named
from s2mirror.preview_model import Extent, RenderRequest
from s2mirror.sandbox import Sandbox
from s2mirror.stop import StopFlag


class Clock:
    """A clock that changes only when a test sets it."""

    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def turn(self, **ahead: float) -> None:
        self.moment += timedelta(**ahead)


class Hurried(StopFlag):
    """A stop flag that records the requested waits, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout_seconds: float) -> bool:
        self.waits.append(timeout_seconds)
        return self.is_set()


def options(sandbox: Sandbox, folder: Path, **changes: Any) -> TokenOptions:  # noqa: ANN401 - TokenOptions' fields
    values: dict[str, Any] = {
        "url": sandbox.token_url,
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "cache_file": folder / "ledger.token",
        "timeout_seconds": 60.0,
        "ca_file": sandbox.ca_file,
    }
    values |= changes
    LEAKS.plant({"S2MIRROR_CLIENT_SECRET": values["client_secret"]})
    return TokenOptions(**values)


def tokens(
    sandbox: Sandbox,
    folder: Path,
    clock: Clock | None = None,
    **changes: Any,  # noqa: ANN401 - TokenOptions' fields
) -> ClientTokens:
    """Return a token source whose clock, if given, is the sandbox's too."""
    if clock is None:
        return ClientTokens(options(sandbox, folder, **changes))
    sandbox.identity.clock = clock.seconds
    return ClientTokens(options(sandbox, folder, **changes), now=clock.now)


FRAME = Extent(crs="EPSG:4326", bbox=(8.5, 47.1, 8.8, 47.3), width=24, height=16)


def request(**changes: Any) -> RenderRequest:  # noqa: ANN401 - RenderRequest's fields
    values: dict[str, Any] = {
        "extent": FRAME,
        "geometry_geojson": "",
        "collection": "sentinel-2-l2a",
        "time_from": datetime(2026, 5, 27, 9, tzinfo=UTC),
        "time_until": datetime(2026, 5, 27, 12, tzinfo=UTC),
        "max_cloud_cover_percent": None,
        "mosaicking_order": "mostRecent",
        "script": script_named("true-color", Path()),
        "form": "png",
    }
    return RenderRequest(**values | changes)


def hub(sandbox: Sandbox, folder: Path, **changes: Any) -> SentinelHub:  # noqa: ANN401 - options
    values = {"url": sandbox.process_url, "ca_file": sandbox.ca_file} | changes
    return SentinelHub(HubOptions(**values), tokens(sandbox, folder))
