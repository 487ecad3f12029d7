"""A token endpoint for client credentials, with the responses of the Data Space's Keycloak."""

import base64
import binascii
import hmac
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from joserfc import jwt
from joserfc.jwk import OctKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN_PATH: Final = "/auth/realms/CDSE/protocol/openid-connect/token"  # noqa: S105 - a path
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(slots=True)
class IdentityService:
    """Issues tokens to one registered client."""

    issuer: str = "https://localhost/auth/realms/CDSE"
    client_id: str = field(default_factory=lambda: f"sh-{uuid.uuid4()}")
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    expires_in_seconds: int = 600
    issued: list[str] = field(default_factory=list)
    """Every access token, in the order of issue."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970; tests replace it to skip time or to set a wrong clock."""
    revoked: bool = False
    """Whether the client was deactivated or has expired; its tokens are then invalid."""
    claims: dict[str, str | int] = field(default_factory=dict)
    """Values that replace the correct ones in every response, such as ``expires_in``."""
    _key: OctKey = field(default_factory=lambda: OctKey.generate_key(256))

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(routes=[Route(TOKEN_PATH, self._token, methods=["POST"])])

    def is_valid(self, token: str) -> bool:
        """Return whether an access token was issued here and has not expired."""
        if self.revoked or token not in self.issued:
            return False
        return float(jwt.decode(token, self._key).claims["exp"]) > self.clock()

    def reset(self) -> None:
        """Delete every token and restore the defaults; the client stays."""
        self.issued.clear()
        self.claims.clear()
        self.expires_in_seconds, self.clock, self.revoked = 600, time.time, False

    async def _token(self, request: Request) -> Response:
        fields = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        if "grant_type" not in fields:
            return _refused(400, "invalid_request", "Missing form parameter: grant_type")
        if fields["grant_type"] != "client_credentials":
            return _refused(400, "unsupported_grant_type", "Unsupported grant_type")
        client_id, secret = _client_of(request, fields)
        if client_id != self.client_id or self.revoked:
            return _refused(401, "invalid_client", "Invalid client or Invalid client credentials")
        if not hmac.compare_digest(secret.encode(), self.client_secret.encode()):
            return _refused(
                401, "unauthorized_client", "Invalid client or Invalid client credentials"
            )
        return JSONResponse(self._grant(), headers=_NO_STORE)

    def _grant(self) -> dict[str, str | int]:
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "sub": str(uuid.uuid5(uuid.NAMESPACE_URL, self.client_id)),
            "azp": self.client_id,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + self.expires_in_seconds,
            "typ": "Bearer",
        }
        token = jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, self._key)
        self.issued.append(token)
        return {
            "access_token": token,
            "expires_in": self.expires_in_seconds,
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": "email profile user-context",
            **self.claims,
        }


def _client_of(request: Request, fields: dict[str, str]) -> tuple[str, str]:
    """Return client id and secret from the Basic header or the form."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return fields.get("client_id", ""), fields.get("client_secret", "")
    try:
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote(client_id), unquote(secret)


def _refused(status: int, error: str, description: str) -> Response:
    body = {"error": error, "error_description": description}
    return JSONResponse(body, status, headers=_NO_STORE)
