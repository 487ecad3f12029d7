"""Creates boto3's S3 client, which only the mirror's own options configure.

botocore reads about fifty environment variables and the files in ``~/.aws``. They are for other
programs: their profile, region or endpoint must neither change a request nor stop the mirror.
Proxies are the exception: botocore reads HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.configprovider import ConfigValueStore, ConstantProvider
from botocore.loaders import Loader
from botocore.session import Session
from botocore.tokens import TokenProviderChain

from s2mirror import USER_AGENT
from s2mirror.adapters.objectstore.http_session import StoreSession

# CDSE refuses pre-signed URLs; it accepts path-style URLs and header signatures.
_CONFIG: Final = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    retries={"total_max_attempts": 1, "mode": "standard"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    user_agent=USER_AGENT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Address, keys and settings of the store."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str = "default"
    connections: int = 4
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    min_rate_bytes_per_second: int = 10_000
    min_rate_period_seconds: float = 60.0
    """A connection below the minimum rate for this period is closed."""
    requests_per_minute: int = 2000
    ca_file: Path | None = None
    on_date: Callable[[datetime], None] | None = None
    """Called with the ``Date`` of each response of the store."""

    def __repr__(self) -> str:
        """Show endpoint and bucket, never the keys."""
        return f"StoreOptions(endpoint={self.endpoint!r}, bucket={self.bucket!r})"


def new_client(options: StoreOptions) -> Any:  # noqa: ANN401 - boto3 makes the class at runtime
    """Return an S3 client that retries nothing and follows no redirect."""
    client = boto3.session.Session(botocore_session=_new_session()).client(
        "s3",
        endpoint_url=options.endpoint,
        region_name=options.region,
        aws_access_key_id=options.access_key,
        aws_secret_access_key=options.secret_key,
        config=_CONFIG,
    )
    client.meta.events.register("before-call.s3", _follow_no_redirect)
    client.meta.events.register("before-send.s3", _new_http_session(options).answer)
    return client


def _new_http_session(options: StoreOptions) -> StoreSession:
    return StoreSession(
        options.endpoint,
        ca_file=str(options.ca_file or ""),
        timeout=(options.connect_timeout_seconds, options.read_timeout_seconds),
        connections=options.connections,
    )


def _new_session() -> Session:
    """Return a session of botocore, for boto3, in which every setting has botocore's default."""
    defaults = {name: default for name, (_, _, default, _) in Session.SESSION_VARIABLES.items()}
    # The shared files: without a name, botocore reads none.
    defaults |= {"config_file": None, "credentials_file": None}
    # The endpoint is given; with this, botocore does not read AWS_ENDPOINT_URL.
    defaults["ignore_configured_endpoint_urls"] = True
    providers = {name: ConstantProvider(value) for name, value in defaults.items()}
    session = Session()
    session.register_component("config_store", ConfigValueStore(providers))
    session.register_component("data_loader", _loader())
    session.register_component("token_provider", TokenProviderChain(providers=[]))
    return session


@cache
def _loader() -> Loader:
    """Return the reader of botocore's own description of S3, never of one in ``~/.aws/models``."""
    path = [Loader.BUILTIN_DATA_PATH]
    return Loader(extra_search_paths=path, include_default_search_paths=False)


def _follow_no_redirect(context: dict[str, Any], **_: object) -> None:
    """Mark the request as redirected already, so that botocore does not redirect it.

    botocore's handler asks the same store for the bucket's region after a redirect, and does the
    same for that request: a login page that redirects every request would cause endless recursion.
    """
    context["s3_redirect"] = {"redirected": True}
