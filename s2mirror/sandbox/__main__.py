"""Serves a simulated Copernicus Data Space on loopback until SIGINT or SIGTERM.

The program prints the endpoints, writes the credentials to a file that a shell can source, and
writes the endpoints to a file of s2mirror options.
"""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from s2mirror.errors import MirrorError
from s2mirror.sandbox import ProductSpec, Sandbox, SandboxProduct, from_real, make_product


def main() -> int:
    """Run the sandbox; return the exit code."""
    args = _parser().parse_args()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with TemporaryDirectory(prefix="s2mirror-sandbox-") as temporary:
            _serve(args, args.folder or Path(temporary), stop)
    except MirrorError as error:
        sys.stderr.write(f"s2mirror sandbox: {error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m s2mirror.sandbox", description=__doc__)
    parser.add_argument("--folder", type=Path, help="folder for CA, env and TOML file (temporary)")
    parser.add_argument("--items", type=Path, help="recorded items and manifests to serve")
    parser.add_argument("--tile", default="32TMT", help="tile of the generated products (32TMT)")
    parser.add_argument("--products", type=int, default=3, help="number of generated products (3)")
    parser.add_argument(
        "--scale", type=float, default=0.002, help="file sizes as a share of real sizes (0.002)"
    )
    parser.add_argument("--json", action="store_true", help="print the endpoints as JSON")
    return parser


def _serve(args: argparse.Namespace, folder: Path, stop: Event) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Sandbox(folder) as sandbox:
        sandbox.publish(_products(args))
        env_file, toml_file = folder / "sandbox.env", folder / "sandbox.toml"
        toml_file.write_text(sandbox.toml(), encoding="utf-8")
        env_file.touch(mode=0o600)
        lines = (f"export {key}='{value}'\n" for key, value in sandbox.environment().items())
        env_file.write_text("".join(lines), encoding="utf-8")
        _print({**_endpoints(sandbox), "env": str(env_file), "toml": str(toml_file)}, args.json)
        stop.wait()


def _endpoints(sandbox: Sandbox) -> dict[str, str]:
    return {
        "stac": sandbox.stac_url,
        "s3": sandbox.s3_endpoint,
        "token": sandbox.token_url,
        "process": sandbox.process_url,
        "odata": sandbox.odata_url,
        "ca": str(sandbox.ca_file),
    }


def _print(values: dict[str, str], as_json: bool) -> None:  # noqa: FBT001 - straight from argparse
    lines = [json.dumps(values)] if as_json else [f"{key}={value}" for key, value in values.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _products(args: argparse.Namespace) -> Iterator[SandboxProduct]:
    if args.items:
        material = from_real(args.items, scale=args.scale)
        for name, reason in material.passed_over.items():
            sys.stderr.write(f"skipped {name}: {reason}\n")
        yield from material.products
        return
    today = datetime.now(UTC).replace(hour=10, minute=20, second=31, microsecond=0)
    for days in range(1, args.products + 1):
        sensed_at = today - timedelta(days=5 * days)
        yield make_product(ProductSpec(tile=args.tile, sensed_at=sensed_at, scale=args.scale))


if __name__ == "__main__":
    sys.exit(main())
