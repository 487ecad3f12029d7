"""Who draws previews: Sentinel Hub, with the tokens of the operator's OAuth client.

Imported when the first picture is to be drawn: the libraries behind it cost every command time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.previews import HubOptions, SentinelHub
from s2mirror.adapters.tokens import ClientTokens, TokenOptions
from s2mirror.config import Settings
from s2mirror.errors import PreviewUnavailable, TokenUnavailable
from s2mirror.ports import PreviewRenderer
from s2mirror.preview_model import RenderedImage, RenderRequest
from s2mirror.stop import StopFlag
from s2mirror.times import parse_utc

_QUIET_UNTIL: Final = "preview.quiet_until"
_LONGEST_QUIET: Final = timedelta(days=31)
"""No service means to be left alone for longer; a clock that was wrong might say so."""


@dataclass(frozen=True, slots=True)
class BackoffRenderer:
    """A painter that is not asked again while it, or who gives tokens, wants to be left alone.

    Until when is in the ledger, so every command and a daemon that starts anew heeds it.
    """

    renderer: PreviewRenderer
    ledger: Ledger
    now: Callable[[], datetime]

    def render(self, request: RenderRequest, stop: StopFlag) -> RenderedImage:
        """Return the picture that *request* asks for, as the painter does."""
        self._require_quiet_is_over()
        try:
            return self.renderer.render(request, stop)
        except (PreviewUnavailable, TokenUnavailable) as error:
            if error.retry_after_seconds:
                until = self.now() + timedelta(seconds=error.retry_after_seconds)
                self.ledger.set_state_value(_QUIET_UNTIL, until.isoformat())
            raise

    def _require_quiet_is_over(self) -> None:
        told, now = self.ledger.state_value(_QUIET_UNTIL), self.now()
        if told is None or not now < parse_utc(told) < now + _LONGEST_QUIET:
            return
        raise PreviewUnavailable(
            "drawing a preview: Sentinel Hub or its token endpoint was busy, and wants to be left "
            f"alone until {parse_utc(told):%Y-%m-%d %H:%M} UTC; will be tried again then",
            retry_after_seconds=(parse_utc(told) - now).total_seconds(),
        )


def new_tokens(settings: Settings, now: Callable[[], datetime]) -> ClientTokens:
    """Return where tokens come from. Raises CredentialError if there is no OAuth client."""
    return ClientTokens(token_options(settings), now)


def new_renderer(
    settings: Settings, ledger: Ledger, now: Callable[[], datetime]
) -> PreviewRenderer:
    """Return who draws previews. Raises CredentialError if there is no OAuth client."""
    hub = SentinelHub(hub_options(settings), new_tokens(settings, now))
    return BackoffRenderer(hub, ledger, now)


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
