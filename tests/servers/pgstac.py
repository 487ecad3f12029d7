"""A real STAC API: stac-fastapi-pgstac over PostgreSQL with PostGIS, as CDSE runs it."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import requests
from daemons import LOOPBACK, Daemon, free_port, listens, run, swept_folder
from installing import CannotInstall, ensure_packages, ensure_virtualenv

HERE = Path(__file__).parent
PACKAGES = ("postgresql", "postgresql-postgis")
REQUIREMENTS = HERE / "pgstac-requirements.txt"
QUERYABLES = HERE / "pgstac-queryables.json"
PAGE_SECONDS = 60

# Everything here is temporary, so nothing has to survive a crash of the machine. The shared memory
# is in the data folder, because a killed PostgreSQL leaves it behind in /dev/shm.
POSTGRES_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "dynamic_shared_memory_type=mmap",
    "unix_socket_directories=",
    f"listen_addresses={LOOPBACK}",
)

Json = Mapping[str, Any]


class PgStac:
    """The running API at ``url``. Collections and items are STAC JSON, stored without changes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy for loopback

    def load(self, collections: Iterable[Json], items: Iterable[Json]) -> None:
        """Publish collections and items; existing ones are replaced."""
        for collection in collections:
            self._put_collection(collection)
        in_order = sorted(items, key=itemgetter("collection"))
        for name, batch in groupby(in_order, key=itemgetter("collection")):
            self._put_items(name, list(batch))

    def delete(self, item: Json) -> None:
        """Withdraw one item."""
        self._send("DELETE", f"collections/{item['collection']}/items/{item['id']}")

    def clear(self) -> None:
        """Withdraw everything, so that the next test starts without items."""
        for collection in self._send("GET", "collections").json()["collections"]:
            self._send("DELETE", f"collections/{collection['id']}")

    def _put_collection(self, collection: Json) -> None:
        known = self._http.get(f"{self.url}/collections/{collection['id']}", timeout=PAGE_SECONDS)
        if known.status_code == requests.codes.not_found:
            self._send("POST", "collections", collection)
        else:
            self._send("PUT", f"collections/{collection['id']}", collection)

    def _put_items(self, collection: str, items: list[Json]) -> None:
        # The bulk upload stores the JSON unchanged; the other one rewrites its times.
        body = {"items": {item["id"]: item for item in items}, "method": "upsert"}
        answer = self._send("POST", f"collections/{collection}/bulk_items", body)
        refused = answer.json()["errors"]  # errors have status 200
        if refused:
            raise requests.HTTPError(f"pgstac refused items of {collection}: {refused}")

    def _send(self, method: str, path: str, body: Json | None = None) -> requests.Response:
        url = f"{self.url}/{path}"
        answer = self._http.request(method, url, json=body, timeout=PAGE_SECONDS)
        if not answer.ok:
            raise requests.HTTPError(f"{method} {url}: {answer.status_code} {answer.text[:2000]}")
        return answer


@contextmanager
def running_pgstac() -> Iterator[PgStac]:
    """Install and start PostgreSQL and the API on free loopback ports, and stop them again."""
    ensure_packages(PACKAGES)
    python = ensure_virtualenv("pgstac-venv", REQUIREMENTS)
    with swept_folder("s2mirror-pgstac-") as folder, ExitStack() as started:
        connection = _start_postgres(folder, started)
        pypgstac = [python, "-m", "pypgstac.pypgstac"]
        run([*pypgstac, "migrate"], cwd=folder, env=connection)
        # Undeclared, `published` is text to pgstac, and a filter on it answers 500.
        run([*pypgstac, "load_queryables", QUERYABLES], cwd=folder, env=connection)
        yield PgStac(_start_api(python, folder, connection, started))


def _start_postgres(folder: Path, started: ExitStack) -> dict[str, str]:
    """Start an empty database; return the environment that connects to it."""
    programs = _postgres_programs()
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to work for root
    connection = {
        "PGHOST": LOOPBACK,
        "PGPORT": str(free_port()),
        "PGUSER": "pgstac",
        "PGPASSWORD": secrets.token_urlsafe(),
        "PGDATABASE": "postgres",
    }
    home = _make_cluster(folder, programs, connection, user)
    settings = [*POSTGRES_SETTINGS, f"port={connection['PGPORT']}"]
    postgres = Daemon(
        [programs / "postgres", "-D", home / "data", *(f"--{setting}" for setting in settings)],
        log=home / "log",
        user=user,
        stop_signal=signal.SIGINT,  # its "fast" shutdown: does not wait for clients
        death_signal=signal.SIGQUIT,  # its "immediate" one: SIGKILL would leave shared memory
    )
    started.callback(postgres.stop)
    postgres.wait_until(lambda: _accepts(programs, connection))
    return connection


def _make_cluster(
    folder: Path, programs: Path, connection: Mapping[str, str], user: str | None
) -> Path:
    home = folder / "postgres"
    home.mkdir()
    password = home / "password"
    password.touch(mode=0o600)
    password.write_text(connection["PGPASSWORD"])
    if user:
        shutil.chown(home, user)
        shutil.chown(password, user)
    initdb = [
        *(programs / "initdb", "--pgdata", home / "data", "--no-sync"),
        *("--encoding", "UTF8", "--locale", "C.UTF-8", "--auth", "scram-sha-256"),
        *("--username", connection["PGUSER"], "--pwfile", password),
    ]
    run(initdb, cwd=home, user=user)
    return home


def _accepts(programs: Path, connection: Mapping[str, str]) -> bool:
    command = [programs / "pg_isready", "--quiet"]
    return subprocess.run(command, env=dict(connection), check=False).returncode == 0


def _start_api(
    python: Path, folder: Path, connection: Mapping[str, str], started: ExitStack
) -> str:
    port = free_port()
    serve = [python, "-m", "uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app"]
    api = Daemon(
        [*serve, "--host", LOOPBACK, "--port", str(port), "--log-level", "warning"],
        log=folder / "api.log",
        env={
            **connection,
            "USE_API_HYDRATE": "TRUE",  # five times as fast as composing items in SQL
            # CDSE serves pgstac's "absent" value in `storage:refs` of old items; so does this
            # server.
            "EXCLUDE_HYDRATE_MARKERS": "FALSE",
            "ENABLE_TRANSACTIONS_EXTENSIONS": "TRUE",
        },
    )
    started.callback(api.stop)
    api.wait_until(lambda: listens(port))
    return f"http://{LOOPBACK}:{port}"


def _postgres_programs() -> Path:
    """Return the programs' folder of the newest PostgreSQL that has PostGIS."""
    found = [
        control.parents[1].name
        for control in Path("/usr/share/postgresql").glob("*/extension/postgis.control")
    ]
    if not found:
        raise CannotInstall(f"no PostgreSQL with PostGIS, though {', '.join(PACKAGES)} are there")
    return Path("/usr/lib/postgresql") / max(found, key=int) / "bin"
