"""OAuth2 tokens by client credentials: one token at a time, shared by threads and commands."""

from s2mirror.adapters.tokens.client import ClientTokens, TokenOptions

__all__ = ["ClientTokens", "TokenOptions"]
