"""Secrets, read from the environment, from files or from systemd."""

import re
import stat
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, SecretStr

from s2mirror.config.alerts import missing_extra
from s2mirror.config.errors import Fault
from s2mirror.errors import CredentialError

_FIRST: Final = ("s3_access_key", "s3_secret_key")
_SECOND: Final = ("s3_access_key_2", "s3_secret_key_2")
_NAMES: Final = (*_FIRST, *_SECOND, "client_id", "client_secret", "web_token", "alert_urls")
_LISTED: Final = "alert_urls"
"""The one secret with several lines."""
_OTHERS_MAY_READ: Final = stat.S_IRGRP | stat.S_IROTH
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of files that Windows programs save as "Unicode"."""
_INVISIBLE: Final = "\ufeff\u200b\u2060\u00a0"
_QUOTES: Final = ('""', "''", "\u201c\u201d", "\u201e\u201c", "\u2018\u2019")
_ASSIGNMENT: Final = re.compile(r"(export\s+)?[A-Z][A-Z0-9]*_[A-Z0-9_]+\s*[=:]")
_S3_KEYS: Final = "https://eodata-s3keysmanager.dataspace.copernicus.eu"
_CLIENTS: Final = "https://shapps.dataspace.copernicus.eu/dashboard"


class Secrets(BaseModel):
    """The keys of the operator's account and the page, as far as given; ``repr`` hides them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_access_key_2: SecretStr | None = None
    s3_secret_key_2: SecretStr | None = None
    client_id: SecretStr | None = None
    client_secret: SecretStr | None = None
    web_token: SecretStr | None = None
    alert_urls: SecretStr | None = None
    """URLs for Apprise, one per line."""
    """What a reader of the page gives as the password."""

    @property
    def alert_url_list(self) -> tuple[str, ...]:
        """The URLs for Apprise."""
        return tuple(self.alert_urls.get_secret_value().split()) if self.alert_urls else ()

    def require_s3(self) -> tuple[tuple[str, str], ...]:
        """Return access key and secret key of each key pair for the S3 store: one or two pairs.

        Raises CredentialError if the first pair, or one half of the second, is missing.
        """
        first = self._pair(*_FIRST, _S3_KEYS)
        if all(getattr(self, name) is None for name in _SECOND):
            return (first,)
        return first, self._pair(*_SECOND, _S3_KEYS)

    def require_client(self) -> tuple[str, str]:
        """Return id and secret of the OAuth client. Raises CredentialError if one is missing."""
        return self._pair("client_id", "client_secret", _CLIENTS)

    def _pair(self, first: str, second: str, maker: str) -> tuple[str, str]:
        found = {name: getattr(self, name) for name in (first, second)}
        missing = [name for name, secret in found.items() if secret is None]
        if missing:
            raise CredentialError(_how_to_give(missing, maker))
        return found[first].get_secret_value(), found[second].get_secret_value()


def variable(name: str) -> str:
    """Return the name of the environment variable of the secret *name*."""
    return f"S2MIRROR_{name.upper()}"


def credential(name: str) -> str:
    """Return the name of the systemd credential of the secret *name*."""
    return name.replace("_", "-")


def _how_to_give(missing: list[str], maker: str) -> str:
    variables = " and ".join(variable(name) for name in missing)
    files = " and ".join(f"{variable(name)}_FILE" for name in missing)
    credentials = " and ".join(credential(name) for name in missing)
    return (
        f"no {' and no '.join(name.replace('_', ' ') for name in missing)} given: set {variables}, "
        f"or {files} to the path of a file that contains it, or the systemd credential "
        f"{credentials}; create one at {maker}"
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """The secrets that were found, and the faults. Only the field ``secrets`` contains secrets."""

    secrets: Secrets
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def read_secrets(environment: Mapping[str, str]) -> Reading:
    """Read each secret from its variable, from the file its ``_FILE`` names, or from systemd.

    A second key pair whose halves are both blank counts as not given: Compose files pass unset
    variables as empty ones.
    """
    texts: dict[str, _Found] = {}
    secrets: dict[str, SecretStr] = {}
    faults, notes = [], []
    for name in _NAMES:
        try:
            if (found := _find(name, environment)) is not None:
                texts[name] = found
            notes += _open_to_others(name, environment)
        except _Refused as refusal:
            faults.append(Fault(*refusal.args))
    if all(name in texts and not _trimmed(texts[name].text) for name in _SECOND):
        texts = {name: found for name, found in texts.items() if name not in _SECOND}
    for name, found in texts.items():
        try:
            secrets[name] = SecretStr(_listed(found) if name == _LISTED else _bare(name, found))
        except _Refused as refusal:
            faults.append(Fault(*refusal.args))
    return Reading(Secrets(**secrets), tuple(faults), tuple(notes))


class _Refused(Exception):
    """A secret that cannot be used, with its place and the reason."""


class _Found(NamedTuple):
    """A secret as given, with its place."""

    place: str
    text: str


def _find(name: str, environment: Mapping[str, str]) -> _Found | None:
    here, file = variable(name), f"{variable(name)}_FILE"
    if here in environment and file in environment:
        raise _Refused(here, f"expected either this or {file}; got both")
    if here in environment:
        return _Found(here, environment[here])
    if file in environment:
        return _Found(file, _read(file, Path(environment[file])))
    if "CREDENTIALS_DIRECTORY" in environment:
        return _from_systemd(Path(environment["CREDENTIALS_DIRECTORY"]), credential(name))
    return None


def _from_systemd(folder: Path, name: str) -> _Found | None:
    try:
        (folder / name).stat()
    except FileNotFoundError:
        return None
    except OSError:
        pass  # it exists but is not readable: reading it raises the reason
    place = f"CREDENTIALS_DIRECTORY/{name}"
    return _Found(place, _read(place, folder / name))


def _read(place: str, path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8")
    except OSError as error:
        raise _Refused(place, f"expected a file to read; got {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _Refused(place, f"expected a file of text; got {path}, which is not UTF-8") from error


def _trimmed(text: str) -> str:
    """Return *text* without surrounding blanks, line ends, byte order marks and quotes."""
    bare = text.strip(string.whitespace + _INVISIBLE)
    for opening, closing in _QUOTES:
        if len(bare) > 1 and bare[0] == opening and bare[-1] == closing:
            return bare[1:-1].strip(string.whitespace + _INVISIBLE)
    return bare


def _bare(name: str, found: _Found) -> str:
    return _cleaned(found, may_have_quotes=name == "client_secret")


def _listed(found: _Found) -> str:
    """Return one URL per line, without empty lines and comments. No error quotes one."""
    lines = [_trimmed(line) for line in _trimmed(found.text).splitlines()]
    urls = [line for line in lines if line and not line.startswith("#")]
    if not urls:
        raise _Refused(found.place, "expected one URL for Apprise per line; got nothing")
    for url in urls:
        if "://" not in url or not url.isprintable() or any(char.isspace() for char in url):
            raise _Refused(found.place, "expected one URL per line; got another text (not shown)")
    if why := missing_extra():
        raise _Refused(found.place, why)
    return "\n".join(urls)


def _cleaned(found: _Found, *, may_have_quotes: bool) -> str:
    """Return the bare secret. No error quotes it."""
    secret = _trimmed(found.text)
    if not secret:
        raise _Refused(found.place, "expected a secret; got nothing")
    if odd := _unusual_part(secret, may_have_quotes=may_have_quotes):
        raise _Refused(found.place, f"expected a secret alone on one line; got {odd} (not shown)")
    return secret


def _unusual_part(secret: str, *, may_have_quotes: bool) -> str:
    """Return what is unusual about *secret*, such as a blank within it, or an empty text."""
    oddities = {
        "several lines": len(secret.splitlines()) > 1,
        "a NAME=value pair; give the value alone": bool(_ASSIGNMENT.match(secret)),
        "a blank within it": any(char.isspace() for char in secret),
        "a character outside ASCII": not secret.isascii(),
        "a control character": not secret.isprintable(),
        "a quotation mark": not may_have_quotes and bool(set(secret) & set("\"'")),
    }
    return next((words for words, is_so in oddities.items() if is_so), "")


def _open_to_others(name: str, environment: Mapping[str, str]) -> list[str]:
    file = f"{variable(name)}_FILE"
    if file not in environment or not Path(environment[file]).stat().st_mode & _OTHERS_MAY_READ:
        return []
    path = environment[file]
    return [f"{file}: {path} can be read by other users; chmod 600 {path}"]
