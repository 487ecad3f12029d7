"""The renderer of previews: Sentinel Hub's Process API, with tokens of the OAuth client.

Imported only before the first preview is rendered, because its libraries take long to import.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import PREVIEWS_BACKOFF_UNTIL
from s2mirror.adapters.previews import HubOptions, SentinelHub
from s2mirror.adapters.tokens import ClientTokens, TokenOptions
from s2mirror.config import Settings
from s2mirror.errors import PreviewUnavailable, TokenUnavailable
from s2mirror.ports import PreviewRenderer
from s2mirror.preview_model import RenderedImage, RenderRequest
from s2mirror.stop import StopFlag

_LONGEST_BACKOFF: Final = timedelta(days=31)
"""A later end of the back-off comes from a wrong clock and is ignored."""


@dataclass(frozen=True, slots=True)
class BackoffRenderer:
    """A renderer that sends no request before the time that the service named (Retry-After).

    That time is in the ledger, so that every command and a restarted daemon respects it.
    """

    renderer: PreviewRenderer
    ledger: Ledger
    now: Callable[[], datetime]

    def render(self, request: RenderRequest, stop: StopFlag) -> RenderedImage:
        """Return the image that *request* describes. Raises the errors of the renderer."""
        self._require_backoff_is_over()
        try:
            return self.renderer.render(request, stop)
        except (PreviewUnavailable, TokenUnavailable) as error:
            if error.retry_after_seconds:
                until = self.now() + timedelta(seconds=error.retry_after_seconds)
                self.ledger.state.set(PREVIEWS_BACKOFF_UNTIL, until)
            raise

    def _require_backoff_is_over(self) -> None:
        until, now = self.ledger.state.get(PREVIEWS_BACKOFF_UNTIL), self.now()
        if until is None or not now < until < now + _LONGEST_BACKOFF:
            return
        raise PreviewUnavailable(
            "rendering a preview: Sentinel Hub or its token endpoint was busy and asked for no "
            f"request before {until:%Y-%m-%d %H:%M} UTC; the preview is tried again then",
            retry_after_seconds=(until - now).total_seconds(),
        )


def new_tokens(settings: Settings, now: Callable[[], datetime]) -> ClientTokens:
    """Return the source of tokens. Raises CredentialError if no OAuth client is configured."""
    return ClientTokens(token_options(settings), now)


def new_renderer(
    settings: Settings, ledger: Ledger, now: Callable[[], datetime]
) -> PreviewRenderer:
    """Return the preview renderer. Raises CredentialError if no OAuth client is configured."""
    hub = SentinelHub(hub_options(settings), new_tokens(settings, now))
    return BackoffRenderer(hub, ledger, now)


def token_options(settings: Settings) -> TokenOptions:
    """Return the options of the token client. Raises CredentialError if no OAuth client is set."""
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
    """Return the options of the Process API's client."""
    return HubOptions(
        url=settings.endpoints.process_url,
        timeout_seconds=settings.preview.timeout.total_seconds(),
        ca_file=settings.network.ca_file,
    )
