"""New products while the services of the demo keep running: at an interval, and on request.

A request is a file in a folder that exists as long as the services run. The services answer it in
a file beside it.
"""

import shutil
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import UsageError

_FOLDER: Final = ".publish"
_ANSWER: Final = ".answer"
_LOOK_SECONDS: Final = 0.3
_WAIT_SECONDS: Final = 60.0
TILES: Final = ("32TMT", "32TNS")
_REVISIT: Final = timedelta(days=5)


def next_image(after: datetime, number: int) -> tuple[str, datetime]:
    """Return tile and sensing time of the product of this number, from 0; each tile in turn."""
    passes, tile = divmod(number, len(TILES))
    return TILES[tile], after + (passes + 1) * _REVISIT


def publish_until_stopped(
    folder: Path, every: timedelta | None, publish: Callable[[], str]
) -> None:
    """Publish a product at each interval and for each request, until SIGINT or SIGTERM.

    *publish* returns the id of the product that it has published.
    """
    requests = folder / _FOLDER
    requests.mkdir(exist_ok=True)
    published_at = time.monotonic()
    try:
        with stopped_by_signals() as stop:
            while not stop.wait(_LOOK_SECONDS):
                for request in requests.glob("*.request"):
                    _answer(request, publish())
                if every and time.monotonic() - published_at >= every.total_seconds():
                    published_at = time.monotonic()
                    publish()
    finally:
        shutil.rmtree(requests, ignore_errors=True)


def _answer(request: Path, product_id: str) -> None:
    part = request.with_suffix(".part")
    part.write_text(product_id, encoding="utf-8")
    part.replace(request.with_suffix(_ANSWER))
    request.unlink(missing_ok=True)


def request_product(folder: Path) -> str:
    """Have the services that run in *folder* publish a product; return its id."""
    requests = folder / _FOLDER
    request = requests / f"{uuid.uuid4().hex}.request"
    advice = f"start `s2mirror demo --keep --folder {folder}` in another terminal first"
    try:
        request.touch(exist_ok=False)
    except FileNotFoundError as error:
        raise UsageError(f"no demo keeps running in {folder}; {advice}") from error
    answer, until = request.with_suffix(_ANSWER), time.monotonic() + _WAIT_SECONDS
    while not answer.exists():
        if time.monotonic() > until:
            request.unlink(missing_ok=True)
            raise UsageError(
                f"the demo in {folder} has not answered for {_WAIT_SECONDS:.0f} s; {advice}"
            )
        time.sleep(_LOOK_SECONDS)
    product_id = answer.read_text(encoding="utf-8")
    answer.unlink(missing_ok=True)
    return product_id
