"""Tokens and previews on a sandbox, with a clock that a test may turn."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shapely.geometry import box

from s2mirror.adapters.tokens import ClientTokens, TokenOptions
from s2mirror.geometry import pack
from s2mirror.model import Product
from s2mirror.sandbox import Sandbox
from s2mirror.stop import StopFlag


def product(**facts: Any) -> Product:  # noqa: ANN401 - Product's fields
    sensed_at = datetime(2026, 6, 1, 12, tzinfo=UTC)
    product_id = "S2C_MSIL2A_20260601T120000_N0512_R065_T32TMT_20260601T150000"
    values: dict[str, Any] = {
        "id": product_id,
        "collection": "sentinel-2-l2a",
        "platform": "sentinel-2c",
        "tile": "32TMT",
        "baseline": "05.12",
        "relative_orbit": 65,
        "sensed_at": sensed_at,
        "published_at": sensed_at + timedelta(hours=4),
        "generated_at": sensed_at + timedelta(hours=3),
        "cloud_cover_percent": 12.5,
        "size_bytes": 8,
        "s3_prefix": f"Sentinel-2/MSI/L2A/2026/06/01/{product_id}.SAFE/",
        "datatake_id": "GS2C_20260601T120000_000065_N05.12",
        "datastrip_id": "",
        "revision": "",
        "footprint_wkb": pack(box(8, 47, 9, 48)),
    }
    return Product(**values | facts)


class Clock:
    """A clock that stands still until a test turns it."""

    def __init__(self, moment: datetime = datetime(2026, 6, 1, 12, tzinfo=UTC)) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def turn(self, **ahead: float) -> None:
        self.moment += timedelta(**ahead)


class Hurried(StopFlag):
    """A stop flag on which nobody waits: it writes down how long they would have."""

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
        "timeout_seconds": 10.0,
        "ca_file": sandbox.ca_file,
    }
    return TokenOptions(**values | changes)


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
