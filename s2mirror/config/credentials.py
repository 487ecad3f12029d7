"""Secrets, from the environment, from files, or from systemd; nowhere else."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, SecretStr

from s2mirror.config.errors import Fault
from s2mirror.errors import CredentialError

_FIRST: Final = ("s3_access_key", "s3_secret_key")
_SECOND: Final = ("s3_access_key_2", "s3_secret_key_2")
_NAMES: Final = (*_FIRST, *_SECOND, "client_id", "client_secret")
_OTHERS_MAY_READ: Final = stat.S_IRGRP | stat.S_IROTH
_S3_KEYS: Final = "https://eodata-s3keysmanager.dataspace.copernicus.eu"
_CLIENTS: Final = "https://shapps.dataspace.copernicus.eu/dashboard"


class Secrets(BaseModel):
    """The keys of the operator's account, as far as they were given; hidden in ``repr``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_access_key_2: SecretStr | None = None
    s3_secret_key_2: SecretStr | None = None
    client_id: SecretStr | None = None
    client_secret: SecretStr | None = None

    def require_s3(self) -> tuple[tuple[str, str], ...]:
        """Return access key and secret key of each pair for the S3 store: one, or two.

        Raises CredentialError if the first pair, or one half of the second, is not there.
        """
        first = self._pair(*_FIRST, _S3_KEYS)
        if all(getattr(self, name) is None for name in _SECOND):
            return (first,)
        return first, self._pair(*_SECOND, _S3_KEYS)

    def require_client(self) -> tuple[str, str]:
        """Return id and secret of the OAuth client, or raise CredentialError."""
        return self._pair("client_id", "client_secret", _CLIENTS)

    def _pair(self, first: str, second: str, maker: str) -> tuple[str, str]:
        found = {name: getattr(self, name) for name in (first, second)}
        missing = [name for name, secret in found.items() if secret is None]
        if missing:
            raise CredentialError(_how_to_give(missing, maker))
        return found[first].get_secret_value(), found[second].get_secret_value()


def variable(name: str) -> str:
    """Return the environment variable of the secret *name*."""
    return f"S2MIRROR_{name.upper()}"


def credential(name: str) -> str:
    """Return the systemd credential of the secret *name*."""
    return name.replace("_", "-")


def _how_to_give(missing: list[str], maker: str) -> str:
    variables = " and ".join(variable(name) for name in missing)
    files = " and ".join(f"{variable(name)}_FILE" for name in missing)
    credentials = " and ".join(credential(name) for name in missing)
    return (
        f"no {' and no '.join(name.replace('_', ' ') for name in missing)} given: set {variables}, "
        f"or {files} to the path of a file that holds it, or the systemd credential {credentials}; "
        f"make one at {maker}"
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """The outcome of looking for secrets. No field holds one but ``secrets``."""

    secrets: Secrets
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def read_secrets(environment: Mapping[str, str]) -> Reading:
    """Look for each secret: in its variable, in the file its ``_FILE`` names, then in systemd's."""
    found: dict[str, SecretStr] = {}
    faults, notes = [], []
    for name in _NAMES:
        try:
            secret = _find(name, environment)
            notes += _open_to_others(name, environment)
        except _Refused as refusal:
            faults.append(Fault(*refusal.args))
        else:
            found |= {} if secret is None else {name: SecretStr(secret)}
    return Reading(Secrets(**found), tuple(faults), tuple(notes))


class _Refused(Exception):
    """A secret that cannot be used: its place, and why."""


def _find(name: str, environment: Mapping[str, str]) -> str | None:
    here, file = variable(name), f"{variable(name)}_FILE"
    if here in environment and file in environment:
        raise _Refused(here, f"expected either this or {file}; got both")
    if here in environment:
        return _one_line(here, environment[here])
    if file in environment:
        return _read(file, Path(environment[file]))
    if "CREDENTIALS_DIRECTORY" in environment:
        return _from_systemd(Path(environment["CREDENTIALS_DIRECTORY"]), credential(name))
    return None


def _from_systemd(folder: Path, name: str) -> str | None:
    try:
        (folder / name).stat()
    except FileNotFoundError:
        return None
    except OSError:
        pass  # there but not for us: reading says why
    return _read(f"CREDENTIALS_DIRECTORY/{name}", folder / name)


def _read(place: str, path: Path) -> str:
    try:
        return _one_line(place, path.read_text("utf-8"))
    except OSError as error:
        raise _Refused(place, f"expected a file to read; got {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _Refused(place, f"expected a file of text; got {path}, which is not UTF-8") from error


def _one_line(place: str, text: str) -> str:
    """Return the secret without its line end; never quote it."""
    secret = text.rstrip("\r\n")
    if not secret.strip():
        raise _Refused(place, "expected a secret; got nothing")
    if not secret.isprintable():
        raise _Refused(place, "expected a secret of one line; got several lines (not shown)")
    return secret


def _open_to_others(name: str, environment: Mapping[str, str]) -> list[str]:
    file = f"{variable(name)}_FILE"
    if file not in environment or not Path(environment[file]).stat().st_mode & _OTHERS_MAY_READ:
        return []
    path = environment[file]
    return [f"{file}: {path} can be read by other users; chmod 600 {path}"]
