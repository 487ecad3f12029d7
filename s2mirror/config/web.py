"""The options of the status page."""

import ipaddress
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from s2mirror.config.fields import Section, pattern, unexpected

_ADDRESS: Final = 'an IP address and a port such as "127.0.0.1:8765" or "[::1]:8765"'


class Address(NamedTuple):
    """An IP address of this machine, and a port of it."""

    host: str
    port: int
    """0 for any free port."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _address(value: object) -> Address:
    """Return the address in a text. Only the usual form is accepted, so that it is not misread."""
    try:
        parts = urlsplit(f"//{value}")
        host, port = ipaddress.ip_address(parts.hostname or ""), parts.port
    except ValueError:
        raise unexpected(_ADDRESS, value) from None
    if port is None or str(found := Address(str(host), port)) != value:
        raise unexpected(_ADDRESS, value)
    return found


ListenAddress = Annotated[Address | None, BeforeValidator(_address)]
HostName = Annotated[
    str,
    pattern(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", 'a host name such as "mirror.example.org"'),
]


class WebSettings(Section):
    """The page with the mirror's status, and its addresses for monitors."""

    listen: ListenAddress = None
    """None: there is no page."""
    hosts: tuple[HostName, ...] = ()
    """Names by which readers reach the page, besides IP addresses and ``localhost``."""
