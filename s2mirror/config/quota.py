"""What the account may receive."""

from datetime import timedelta

from s2mirror.config import fields
from s2mirror.config.section import Section


class QuotaSettings(Section):
    """The account's volume of thirty days, and how it is shared out."""

    per_30_days: fields.SizeOrUnlimited = 12 * 10**12
    """None: no limit."""
    reserve_percent: fields.Percent = 10.0
    """This part is kept for what was sensed within *fresh*."""
    fresh: fields.PositiveDuration = timedelta(days=7)
