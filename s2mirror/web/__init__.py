"""The status page: read-only HTTP for people and monitors, served by the daemon."""

from s2mirror.web.server import PageServer

__all__ = ["PageServer"]
