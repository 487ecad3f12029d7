"""The page's server in its thread: it starts, is bounded, stops, and never ends the daemon."""

import socket
import urllib.request
from pathlib import Path

from web_kit import CONFIG, make_mirror

from s2mirror.web import PageServer


def test_server_answers_until_it_is_stopped(tmp_path: Path) -> None:
    server = PageServer(make_mirror(tmp_path))
    server.start()
    assert server.address
    assert server.problem == ""
    with urllib.request.urlopen(f"http://{server.address}/healthz") as answer:
        assert answer.read() == b"ok\n"
        assert "server" not in {name.lower() for name in answer.headers}
    server.stop()
    with socket.socket() as client:
        assert client.connect_ex(tuple(server.address)) != 0
    assert server.problem == ""


def test_port_in_use_is_a_problem_with_advice(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = PageServer(make_mirror(tmp_path, CONFIG.replace(":0", f":{port}")))
        server.start()
    assert server.problem == (
        f"the status page cannot be served at 127.0.0.1:{port}: Address already in use. End the "
        "program that uses it, or set another web.listen"
    )
    server.stop()


def test_open_address_without_token_is_refused(tmp_path: Path) -> None:
    server = PageServer(make_mirror(tmp_path, CONFIG.replace("127.0.0.1:0", "0.0.0.0:0")))
    server.start()
    assert server.address is None
    assert "S2MIRROR_WEB_TOKEN" in server.problem
    server.stop()


def test_head_of_a_request_is_bounded(tmp_path: Path) -> None:
    server = PageServer(make_mirror(tmp_path))
    server.start()
    assert server.address
    with socket.create_connection(tuple(server.address)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 40_000)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    server.stop()
