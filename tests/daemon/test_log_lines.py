"""Lines of the log: their order, their priority in the journal, and repeated ones."""

import json
import logging
import os
import subprocess
import sys
import warnings
from typing import Any, Final

import pytest
from structlog import DropEvent

from s2mirror.service.log_lines import JournalLines, Repetition, stderr_is_journal
from s2mirror.service.logs import log, set_up_logs

SCRIPT: Final = """
from s2mirror.service.logs import log, set_up_logs
set_up_logs(level="info", form="{form}", secrets=())
log.info("mirror.started", searches=2)
log.warning("job.failed", reason="x\\n<0>forged")
try:
    int("x")
except ValueError:
    log.exception("job.crashed")
"""


def test_only_the_journals_own_stream_is_the_journal() -> None:
    found = os.fstat(2)
    assert stderr_is_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    assert not stderr_is_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
    assert not stderr_is_journal({"JOURNAL_STREAM": "nonsense"})
    assert not stderr_is_journal({})


@pytest.mark.parametrize(
    ("level", "number"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)]
)
def test_every_line_has_its_priority(level: str, number: int) -> None:
    lines = JournalLines(lambda *_: "one\ntwo")
    assert lines(None, level, {"level": level}) == f"<{number}>one\n<{number}>two"


@pytest.mark.long
def test_journal_gets_priorities_and_no_time() -> None:
    for form in ("json", "text"):
        reader, writer = os.pipe()
        found = os.fstat(writer)
        environment = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        command = [sys.executable, "-c", SCRIPT.format(form=form)]
        subprocess.run(command, env=environment, stderr=writer, check=True)
        os.close(writer)
        with open(reader, encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
            lines = stream.read().splitlines()
        assert [line[:3] for line in lines[:2]] == ["<6>", "<4>"]
        assert {line[:3] for line in lines[2:]} == {"<3>"}
        if form == "json":
            assert json.loads(lines[0][3:]) == {
                "level": "info", "event": "mirror.started", "searches": 2,
            }  # fmt: skip


def test_time_level_and_event_are_first(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level="info", form="json", secrets=())
    log.info("product.published", product="x")
    line = json.loads(capsys.readouterr().err)
    assert list(line) == ["timestamp", "level", "event", "product"]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def written(repetition: Repetition, level: str = "warning", **event: Any) -> dict[str, Any] | None:  # noqa: ANN401 - values of an event
    """Return the event as it is written, or None if it is dropped."""
    try:
        return dict(repetition(None, level, {"level": level, **event}))
    except DropEvent:
        return None


def test_repeated_trouble_is_logged_hourly_and_counted() -> None:
    clock = Clock()
    repetition = Repetition(clock)
    lines = []
    for _ in range(3 * 60):
        lines.append(written(repetition, event="job.failed", job="prune", reason=f"{clock()} s"))
        clock.seconds += 60
    found = [line for line in lines if line]
    assert len(found) == 3
    assert "repeated" not in found[0]
    assert [line["repeated"] for line in found[1:]] == ["59 times since the last line"] * 2


def test_other_trouble_is_logged_at_once() -> None:
    repetition = Repetition(Clock())
    for value in ("one", "other"):
        assert written(repetition, event="product.delayed", product=value)
        assert written(repetition, event="job.failed", job="prune", reason=value)
        assert not written(repetition, event="job.failed", job="prune", reason=value, seconds=5)
    for _ in range(2):
        assert written(repetition, "info", event="product.published")
        assert written(repetition, event="store.failover", reason="same")


def test_products_that_differ_in_digits_are_not_alike() -> None:
    repetition = Repetition(Clock())
    assert all(written(repetition, event="product.failed", product=f"S2A_{n}") for n in range(5000))
    assert not written(repetition, event="product.failed", product="S2A_4999")
    assert written(repetition, event="product.failed", product="S2A_1"), "memory is bounded"


def test_warnings_of_libraries_are_events(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level="info", form="json", secrets=["geheim-1"])
    logging.getLogger("urllib3.connectionpool").warning("Retrying with %s", "geheim-1")
    logging.getLogger("urllib3.connectionpool").warning("Connection pool is full, discarding")
    logging.getLogger("botocore.hooks").info("not for people")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["library"], line["text"]) for line in lines] == [
        ("library.warned", "urllib3", "Retrying with ********")
    ]


def test_python_warning_is_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        set_up_logs(level="info", form="json", secrets=())
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old interface", DeprecationWarning, stacklevel=1)
    assert "old interface" in json.loads(capsys.readouterr().err)["text"]
