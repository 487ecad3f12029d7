"""Texts from outside in the log and in notifications to systemd."""

import json
import re
import socket
from contextlib import closing
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.adapters.notify import Notifier
from s2mirror.service.logs import log, set_up_logs

FORGED = "503\n2026-01-01T00:00:00Z [info] product.published\x1b[2J\u202egpj\r\x07"


@pytest.mark.parametrize("form", ["json", "text"])
def test_reason_cannot_forge_a_log_line(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level="info", form=form, secrets=())
    log.warning("product.delayed", reason=FORGED, items=[FORGED])
    (line,) = capsys.readouterr().err.splitlines()
    if form == "json":
        line = json.loads(line)["reason"]
    clean = r"503\n2026-01-01T00:00:00Z [info] product.published\x1b[2J\u202egpj\r\x07"
    assert clean in line.replace(r"\\", "\\")  # the text form quotes as Python does
    assert line.isprintable()


def test_exception_text_cannot_forge_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level="info", form="text", secrets=())
    try:
        int(FORGED)
    except ValueError:
        log.exception("job.crashed")
    first, *traceback = capsys.readouterr().err.splitlines()
    assert "job.crashed" in first
    assert [line for line in traceback if line and not line.startswith(" ")] == []


@given(text=st.text(st.characters()))
def test_no_status_becomes_a_command_to_systemd(text: str) -> None:
    address = f"@s2mirror-{uuid4().hex}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind("\0" + address[1:])
        listening.settimeout(5)
        Notifier({"NOTIFY_SOCKET": address}).alive(text)
        sent = listening.recv(1 << 16).decode()
    assert re.fullmatch(r"WATCHDOG=1\nSTATUS=[^\n]*", sent)
