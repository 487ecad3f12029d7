"""The table of a store's responses and the mirror's errors, and its copy in the docs."""

import email.utils
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2mirror.adapters.objectstore.error_map import (
    BY_CODE,
    BY_EXCEPTION,
    BY_STATUS,
    OTHERWISE,
    REFUSED_BUCKET,
    REFUSED_OBJECT,
    Row,
    retry_after_seconds,
)
from s2mirror.errors import CredentialError, IntegrityError, MirrorError

DOCUMENT = Path(__file__).parents[2] / "docs/faults.md"
HEAD = "| response | error | effect | message |"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "86400000"}, 3600),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}, 20),
        ({"x-ratelimit-reset": "20"}, 20),
        ({"x-ratelimit-remaining": "1999", "x-ratelimit-reset": "20"}, None),
        ({"retry-after": "7", "x-ratelimit-reset": "20"}, 7),
    ],
)
def test_retry_after_is_read_within_reason(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


def test_retry_after_date_counts_from_now() -> None:
    ahead, past = (email.utils.formatdate(time.time() + s, usegmt=True) for s in (100, -100))
    assert retry_after_seconds({"retry-after": ahead}) == pytest.approx(100, abs=30)
    assert retry_after_seconds({"retry-after": past}) == 0


def rows() -> Iterator[tuple[str, Row]]:
    """Yield each response and its error."""
    yield from BY_CODE.items()
    yield "403, and the key cannot list either", REFUSED_BUCKET
    yield "403 for one object", REFUSED_OBJECT
    yield from ((f"{status}", row) for status, row in BY_STATUS.items())
    yield "any other status", OTHERWISE
    for kinds, row in BY_EXCEPTION.items():
        yield ", ".join(f"`{kind.__name__}`" for kind in kinds), row


def consequence(kind: type[MirrorError]) -> str:
    if kind.pauses_everything:
        return "all work pauses; no attempt is counted"
    if not kind.counts_as_attempt:
        return "the product waits; no attempt is counted"
    return "the product is tried again later" if kind.transient else "the product fails"


def test_faults_page_repeats_the_error_table() -> None:
    expected = [
        f"| {came} | {kind.__name__} | {consequence(kind)} | {advice} |"
        for came, (kind, advice) in rows()
    ]
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = lines.index(HEAD) + 2
    end = next(n for n in range(start, len(lines) + 1) if n == len(lines) or not lines[n])
    assert lines[start:end] == expected


def test_wrong_key_never_charges_a_product() -> None:
    keys = {kind for _, (kind, _) in rows() if issubclass(kind, CredentialError)}
    assert len(keys) > 1
    assert not any(kind.counts_as_attempt for kind in keys)


def test_no_response_alone_is_an_integrity_error() -> None:
    assert not any(issubclass(kind, IntegrityError) for _, (kind, _) in rows())
