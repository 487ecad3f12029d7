"""What the account may receive."""

from datetime import timedelta

from s2mirror.config import kinds
from s2mirror.config.section import Section


class QuotaSettings(Section):
    """The account's volume of thirty days, and how it is shared out."""

    per_30_days: kinds.SizeOrUnlimited = 12 * 10**12
    """None: no limit."""
    reserve_percent: kinds.Percent = 10.0
    """This part is kept for what was sensed within *fresh*."""
    fresh: kinds.PositiveDuration = timedelta(days=7)
