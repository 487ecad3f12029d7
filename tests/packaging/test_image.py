"""The real image: built, restricted as in compose.yaml, and run against a sandbox."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from checkout import DOCKERFILE, instructions
from engine import BASE, SHUT_IN, WITHOUT_SYSTEMD, Engine
from installing import CannotInstall
from wheels import make_wheels

from s2mirror import __version__
from s2mirror.sandbox import ProductSpec, Sandbox, make_product

pytestmark = [pytest.mark.servers, pytest.mark.long]

PLAIN: Final = "s2mirror:plain"
WITH_SANDBOX: Final = "s2mirror:sandbox"
USER: Final = 10001
STOP_SECONDS: Final = 20
MAX_IMAGE_MB: Final = 300
OFFICIAL_BASE_MB: Final = 130
"""The size of the official image, for which the engine has a larger replacement."""
CONFIGURED: Final = """
[archive]
root = "/archive"
reserve = "1 MB"
[ledger]
path = "/state/s2mirror.sqlite"
[[area]]
name = "tile"
tiles = ["32TMT"]
start = 2020-01-01
"""


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    try:
        engine = Engine(folder)
        wheels = make_wheels(folder / "wheels")
        engine.import_base(folder)
    except CannotInstall as reason:
        give_up = pytest.fail if os.environ.get("S2MIRROR_REQUIRE_SERVERS") == "1" else pytest.skip
        give_up(f"no image to be built: {reason}")
    try:
        engine.build(PLAIN, wheels)
        engine.build(WITH_SANDBOX, wheels, "--build-arg=EXTRAS=[web,sandbox]")
        yield engine
    finally:
        engine.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="sandbox")
def _sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    with Sandbox(folder) as running:
        running.publish(make_product(ProductSpec()))
        yield running


def run(engine: Engine, *words: str) -> subprocess.CompletedProcess[str]:
    return engine.do("run", "--rm", *SHUT_IN, *WITHOUT_SYSTEMD, *words)


class Service:
    """The container as compose.yaml runs it: three volumes, two secrets, nothing else."""

    def __init__(self, engine: Engine, folder: Path, sandbox: Sandbox) -> None:
        self._engine = engine
        self._volumes = {
            folder / name: path
            for name, path in {
                "conf": "/config:ro",
                "archive": "/archive",
                "state": "/state",
                "secrets": "/run/secrets:ro",
            }.items()
        }
        for volume in self._volumes:
            volume.mkdir()
            os.chown(volume, USER, USER)
        shutil.copy(sandbox.ca_file, folder / "conf" / "ca.pem")
        endpoints = sandbox.toml().replace(str(sandbox.ca_file), "ca.pem")
        (folder / "conf" / "s2mirror.toml").write_text(endpoints + CONFIGURED)
        self._secrets = folder / "secrets"

    def give(self, access_key: str, secret_key: str) -> None:
        for name, value in {"s3-access-key": access_key, "s3-secret-key": secret_key}.items():
            file = self._secrets / name
            file.unlink(missing_ok=True)
            file.write_text(value)
            file.chmod(0o400)
            os.chown(file, USER, USER)

    def start(self) -> None:
        names = {"S2MIRROR_S3_ACCESS_KEY_FILE": "access", "S2MIRROR_S3_SECRET_KEY_FILE": "secret"}
        done = self._engine.do(
            *("run", "--detach", "--name=daemon", *SHUT_IN, *WITHOUT_SYSTEMD),
            *(f"--volume={folder}:{path}" for folder, path in self._volumes.items()),
            *(f"--env={name}=/run/secrets/s3-{kind}-key" for name, kind in names.items()),
            PLAIN,
        )
        assert done.returncode == 0, done.stderr

    def healthcheck(self) -> int:
        return self._engine.do("healthcheck", "run", "daemon").returncode

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self._engine.do("exec", "daemon", *command)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.inside("s2mirror", *words, "--config=/config/s2mirror.toml")

    def stop(self) -> tuple[str, float]:
        """Stop the container by the image's stop signal; return its exit status and the seconds."""
        begin = time.monotonic()
        self._engine.do("stop", "--time=60", "daemon")
        seconds = time.monotonic() - begin
        status = self._engine.do("inspect", "--format={{.State.ExitCode}}", "daemon").stdout
        self._engine.do("rm", "daemon")
        return status.strip(), seconds


def wait_for(condition: Callable[[], bool], *, seconds: float = 180) -> bool:
    give_up_at = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return found


def test_substitute_base_has_the_version_of_the_dockerfile() -> None:
    said = dict(instructions(DOCKERFILE.read_text()))
    version = next(
        rest.partition("=")[2]
        for name, rest in instructions(DOCKERFILE.read_text())
        if name == "ARG" and rest.startswith("PYTHON_VERSION=")
    )
    assert said["FROM"].replace("${PYTHON_VERSION}", version) == BASE


def test_image_prints_its_version(engine: Engine) -> None:
    assert run(engine, PLAIN, "version").stdout == f"s2mirror {__version__}\n"


def test_image_is_below_300_megabytes(engine: Engine) -> None:
    done = run(engine, "--entrypoint=/usr/bin/du", PLAIN, "-sm", "/opt/s2mirror")
    assert int(done.stdout.split()[0]) < MAX_IMAGE_MB - OFFICIAL_BASE_MB


def test_nothing_outside_the_volumes_can_be_written(engine: Engine) -> None:
    places = "/ /config /opt/s2mirror /usr /etc"
    attempt = f"for place in {places}; do touch $place/probe && echo $place; done; id -u"
    done = run(engine, "--entrypoint=/bin/sh", PLAIN, "-c", attempt)
    assert done.stdout == f"{USER}\n"


def test_demo_runs_in_the_sandbox_image(engine: Engine) -> None:
    done = run(engine, WITH_SANDBOX, "demo", "--folder", "/state/demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all five invariants hold" in done.stdout


def test_small_image_names_the_extra_for_the_demo(engine: Engine) -> None:
    done = run(engine, PLAIN, "demo")
    assert done.returncode == 2
    assert "pip install 's2mirror[sandbox]'" in done.stderr


def test_container_is_healthy_only_with_the_right_key(
    engine: Engine, sandbox: Sandbox, tmp_path: Path
) -> None:
    service = Service(engine, tmp_path, sandbox)
    service.give(sandbox.access_key, "not-the-secret")
    service.start()
    assert wait_for(lambda: "the key pair is wrong" in service.ask("health").stdout)
    assert wait_for(lambda: service.healthcheck() == 1)
    assert service.stop()[0] == "0"
    service.give(sandbox.access_key, sandbox.secret_key)
    service.start()
    assert wait_for(lambda: "archived" in service.ask("list").stdout)
    assert service.ask("audit", "--online").returncode == 0
    assert wait_for(lambda: service.healthcheck() == 0)
    first = service.inside("cat", "/proc/1/cmdline").stdout.replace("\0", " ")
    assert first.endswith("/s2mirror run --config /config/s2mirror.toml ")
    status, seconds = service.stop()
    assert (status, seconds < STOP_SECONDS) == ("0", True)
