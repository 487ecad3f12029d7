"""What every service is told about who asks."""

from typing import Final

from s2mirror import __version__

USER_AGENT: Final = f"s2mirror/{__version__}"
