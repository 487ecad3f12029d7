"""Who draws previews: Sentinel Hub, with the tokens of the operator's OAuth client.

Imported when the first picture is to be drawn: the libraries behind it cost every command time.
"""

from collections.abc import Callable
from datetime import datetime

from s2mirror.adapters.previews import HubOptions, SentinelHub
from s2mirror.adapters.tokens import ClientTokens, TokenOptions
from s2mirror.config import Settings


def new_tokens(settings: Settings, now: Callable[[], datetime]) -> ClientTokens:
    """Return where tokens come from. Raises CredentialError if there is no OAuth client."""
    return ClientTokens(token_options(settings), now)


def new_painter(settings: Settings, now: Callable[[], datetime]) -> SentinelHub:
    """Return who draws previews. Raises CredentialError if there is no OAuth client."""
    return SentinelHub(hub_options(settings), new_tokens(settings, now))


def token_options(settings: Settings) -> TokenOptions:
    """Return how to get OAuth2 tokens. Raises CredentialError if there is no client."""
    client_id, client_secret = settings.secrets.require_client()
    tokens, ledger = settings.tokens, settings.ledger.path
    return TokenOptions(
        url=settings.endpoints.token_url,
        client_id=client_id,
        client_secret=client_secret,
        cache_file=ledger.with_name(ledger.name + ".token"),
        in_body=tokens.client_auth == "body",
        early=tokens.renew_before,
        timeout_seconds=tokens.timeout.total_seconds(),
        tries=tokens.tries,
        ca_file=settings.network.ca_file,
    )


def hub_options(settings: Settings) -> HubOptions:
    """Return how to have previews drawn."""
    return HubOptions(
        url=settings.endpoints.process_url,
        timeout_seconds=settings.preview.timeout.total_seconds(),
        ca_file=settings.network.ca_file,
    )
