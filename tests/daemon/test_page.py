"""The status page of a running daemon."""

import socket
import urllib.request

import pytest
from daemon_kit import Running
from kit import Kit, wait_until


@pytest.mark.long
def test_daemon_serves_its_page_until_stopped(kit: Kit, daemon: Running) -> None:
    kit.sections["web"] = 'listen = "127.0.0.1:0"'
    daemon.start()
    wait_until(lambda: daemon.log("page.started"), "the page is served")
    url = daemon.log("page.started")[0]["url"]
    for path in ("healthz", "status.json", "metrics", ""):
        with urllib.request.urlopen(url + path) as answer:  # noqa: S310 - of the daemon itself
            assert answer.status == 200
            assert answer.read()
    daemon.stop()
    assert daemon.log("page.crashed") == []


@pytest.mark.long
def test_page_without_a_port_stops_no_work(kit: Kit, daemon: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        kit.sections["web"] = f'listen = "127.0.0.1:{other.getsockname()[1]}"'
        daemon.start()
        daemon.wait_until_unhealthy("the status page cannot be served")
        polls = daemon.polls()
        wait_until(lambda: daemon.polls() > polls, "the daemon polls")
        daemon.stop()
