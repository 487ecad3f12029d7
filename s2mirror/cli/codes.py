"""Exit codes beside those that the errors carry."""

from typing import Final

STOPPED: Final = 130
"""Stopped on request, in the middle of something."""
BUG: Final = 70
"""Not expected: EX_SOFTWARE of sysexits.h, so that it cannot be mistaken for a promise."""
