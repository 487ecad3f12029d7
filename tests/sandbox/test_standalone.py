import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "s2mirror.sandbox", "--json", "--products", "2"]
    running = subprocess.Popen(
        [*command, "--folder", tmp_path, "--scale", "0.0001"], stdout=subprocess.PIPE, text=True
    )
    with running:
        yield running
        running.kill()


@pytest.mark.long
def test_standalone_sandbox_serves_until_sigterm(
    process: subprocess.Popen[str],
) -> None:
    assert process.stdout is not None
    endpoints = json.loads(process.stdout.readline())
    verify = endpoints["ca"]
    answer = requests.get(f"{endpoints['stac']}search", verify=verify, timeout=30)
    assert answer.json()["numberReturned"] == 2
    settings = tomllib.loads(Path(endpoints["toml"]).read_text())
    assert settings["catalog"]["url"] == endpoints["stac"]
    assert settings["network"]["ca_file"] == verify
    secrets = Path(endpoints["env"])
    assert secrets.stat().st_mode & 0o077 == 0
    assert "S2MIRROR_S3_SECRET_KEY" in secrets.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 0


@pytest.mark.long
def test_folder_without_recordings_ends_with_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "s2mirror.sandbox", "--items", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "found none that can be used" in done.stderr


@pytest.mark.long
def test_store_ends_with_its_parent_process(tmp_path: Path) -> None:
    script = "from s2mirror.sandbox.s3 import ObjectStore as S\nstore = S().__enter__()"
    script += "\nprint(store._process.pid, flush=True)"
    script += "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=300,
        check=False,
        env=os.environ,
    )
    status = Path("/proc", done.stdout.strip(), "status")
    give_up_at = time.monotonic() + 60
    # The process can end between any two checks.
    with suppress(FileNotFoundError, ProcessLookupError):
        while "(zombie)" not in status.read_text(encoding="utf-8"):
            assert time.monotonic() < give_up_at, "the store outlived its parent"
            time.sleep(0.05)
