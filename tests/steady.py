"""A mirror of which the dice always fall alike.

A wait before the next attempt is anything from none to the longest. With none, a product is tried
again by the same sync, and what a test says of its first attempt is no longer so.
"""

from dataclasses import replace

from kit import Kit

from s2mirror.service.wiring import Mirror


class SteadyKit(Kit):
    """A kit whose mirrors wait nine tenths of the longest wait."""

    def mirror(self) -> Mirror:
        return replace(super().mirror(), dice=lambda: 0.9)
