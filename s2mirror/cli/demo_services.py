"""The local services of the demo, its configuration and its keys."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from s2mirror.cli.progress import console
from s2mirror.errors import UsageError
from s2mirror.sandbox import Sandbox

_MARK: Final = ".s2mirror-demo"
_CONFIG: Final = """\
# Written by `s2mirror demo`. Only the addresses differ from a real configuration.
[archive]
root = "archive"
layout = "tile"
reserve = "100 MB"

[catalog]
url = "{stac_url}"
# The local services have no firewall; CDSE's refuses more than 5.
requests_per_second = 1000

[store]
endpoint = "{s3_endpoint}"

[endpoints]
token_url = "{token_url}"
process_url = "{process_url}"
odata_url = "{odata_url}"

[network]
ca_file = "{ca_file}"
"""


@contextmanager
def services(folder: Path, areas: str) -> Iterator[tuple[Sandbox, Path]]:
    """Start the services, and write a configuration for them."""
    _empty(folder)
    narrate("Starting a local Copernicus Data Space: STAC catalog, S3 store, tokens, Process API.")
    with Sandbox(folder) as sandbox:
        for proxy in (sandbox.stac_proxy, sandbox.odata_proxy):
            proxy.rate_limit.requests = None  # the audit counts every month since 2020
        config = folder / "s2mirror.toml"
        text = _CONFIG.format(
            stac_url=sandbox.stac_url,
            s3_endpoint=sandbox.s3_endpoint,
            token_url=sandbox.token_url,
            process_url=sandbox.process_url,
            odata_url=sandbox.odata_url,
            ca_file=sandbox.ca_file.name,
        )
        config.write_text(text + areas, encoding="utf-8")
        _provide_keys(folder, sandbox)
        yield sandbox, config


def _empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise UsageError(
            f"{folder} exists and was not made by the demo; name another folder with --folder"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()


def _provide_keys(folder: Path, sandbox: Sandbox) -> None:
    """Provide the keys as a service would: in files, named in the environment."""
    lines = []
    for name, secret in (
        ("S3_ACCESS_KEY", sandbox.access_key),
        ("S3_SECRET_KEY", sandbox.secret_key),
        ("CLIENT_ID", sandbox.client_id),
        ("CLIENT_SECRET", sandbox.client_secret),
    ):
        path = (folder / name.lower().replace("_", "-")).absolute()
        path.touch(mode=0o600)
        path.write_text(secret, encoding="utf-8")
        os.environ[f"S2MIRROR_{name}_FILE"] = str(path)
        lines.append(f"export S2MIRROR_{name}_FILE='{path}'\n")
    (folder / "env.sh").write_text("".join(lines), encoding="utf-8")


def narrate(text: str) -> None:
    """Print what the next step shows."""
    console().print(f"\n{text}", style="cyan")
