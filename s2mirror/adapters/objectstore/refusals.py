"""The one table from what a store answers, or how a connection breaks, to the mirror's errors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError, SSLError
from urllib3.exceptions import HTTPError

from s2mirror.errors import (
    CredentialError,
    MirrorError,
    StoreChanged,
    StoreError,
    StoreUnavailable,
)

_AGAIN: Final = "will be tried again"
_NEW_KEY: Final = (
    "the key pair is wrong or has expired; make a new one at "
    "https://eodata-s3keysmanager.dataspace.copernicus.eu, give it to the mirror, and reload it"
)
_CLOCK: Final = "this machine's clock is wrong; set it; work goes on by itself"
_BY_CODE: Final[Mapping[str, tuple[type[MirrorError], str]]] = {
    "RequestTimeTooSkewed": (CredentialError, _CLOCK),
    "InvalidAccessKeyId": (CredentialError, _NEW_KEY),
    "SignatureDoesNotMatch": (CredentialError, _NEW_KEY),
    "UserSuspended": (CredentialError, _NEW_KEY),
    "ExpiredToken": (CredentialError, _NEW_KEY),
    "SlowDown": (StoreUnavailable, _AGAIN),
}
_BY_STATUS: Final[Mapping[int, tuple[type[MirrorError], str]]] = {
    401: (CredentialError, _NEW_KEY),
    404: (StoreChanged, "it is gone since it was listed; will be listed anew"),
    412: (StoreChanged, "it changed since it was listed; will be listed anew"),
    **dict.fromkeys((408, 429, 500, 502, 503, 504), (StoreUnavailable, _AGAIN)),
}
_OTHERWISE: Final = (StoreError, "not retried")


@dataclass(frozen=True, slots=True)
class Refusals:
    """Explains why a request failed."""

    endpoint: str
    probe: Callable[[], None]
    """Raises what is wrong with the key, if anything is."""

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn whatever ends a request for *what* into the mirror's own errors."""
        try:
            yield
        except ClientError as error:
            raise self._refusal(error, what) from error
        except SSLError as error:
            raise StoreError(
                f"{what}: {self.endpoint} has no certificate that this machine trusts: {error}; "
                "set network.ca_file if it is signed by a CA of your own"
            ) from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise StoreUnavailable(f"{what}: {error}; will be tried again") from error
        except (KeyError, TypeError, ValueError) as error:
            raise StoreUnavailable(
                f"{what}: the answer is not an S3 store's ({error!r}; from a proxy perhaps?); "
                "will be tried again"
            ) from error

    def _refusal(self, error: ClientError, what: str) -> MirrorError:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", ""))
        said = f"{what}: the S3 store answered {status} {code}"
        if status == HTTPStatus.FORBIDDEN and code not in _BY_CODE:
            return self._forbidden(said, what)
        kind, advice = _BY_CODE.get(code) or _BY_STATUS.get(status) or _OTHERWISE
        return kind(f"{said}: {advice}")

    def _forbidden(self, said: str, what: str) -> MirrorError:
        """Tell a refused object from a refused key, by asking whether the key can still list."""
        if not what.startswith("listing bucket"):
            self.probe()
            return StoreError(f"{said}: the key works, but may not have this object")
        return CredentialError(
            f"{said}: the key may not list the bucket; check store.bucket and the key's rights"
        )
