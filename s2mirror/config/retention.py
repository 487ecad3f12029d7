"""Which products are removed: the options of ``[prune]``, and those of an area."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import ValidationInfo, field_validator

from s2mirror.config import fields
from s2mirror.config.areas import Area
from s2mirror.config.fields import NEVER
from s2mirror.config.units import duration_text

_BELOW_HIGH = 10.0


class PruneSettings(fields.Section):
    """Which products may be removed, and how many at once."""

    after: fields.DurationOrNever = None
    """How long a processed product is kept; None for ever."""
    max_age: fields.DurationOrNever = None
    """How long a product is kept after its arrival; None for no limit."""
    max_age_sensed: fields.DurationOrNever = None
    """How long a product is kept after its sensing; None for no limit."""
    keep_newest: Annotated[int | None, fields.whole(1)] = None
    """Of each area, only this many of the newest processed products are kept; None for no limit."""
    keep_newest_per_tile: Annotated[int | None, fields.whole(1)] = None
    """The same for each tile of an area."""
    max_size: fields.SizeOrUnlimited = None
    """The largest size of all held products in bytes; None for no limit."""
    disk_high_percent: Annotated[float | None, fields.number(1, 100, " (percent)")] = None
    """Above this part of the archive's disk, products are removed; None: never for this reason."""
    disk_low_percent: Annotated[float | None, fields.number(0, 100, " (percent)")] = None
    """Down to this part; None: 10 below ``disk_high_percent``."""
    require_processed: fields.Flag = True
    trash_keep: fields.Duration = timedelta(days=7)
    trash_keep_min: fields.Duration = timedelta(hours=6)
    """How long the trash keeps a product while the disk is above its high mark."""
    staging_keep: fields.Duration = timedelta(days=7)
    max_products: Annotated[int, fields.whole(1)] = 50
    max_percent: fields.Percent = 20.0
    max_clock_difference: fields.PositiveDuration = timedelta(hours=1)
    interval: fields.PositiveDuration = timedelta(hours=1)

    @field_validator("disk_low_percent")
    @classmethod
    def _below_the_high_mark(cls, low: float | None, info: ValidationInfo) -> float | None:
        high = info.data.get("disk_high_percent")
        if low is not None and high is None and "disk_high_percent" in info.data:
            raise ValueError("expected prune.disk_high_percent too; alone, it has no effect")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"expected less than prune.disk_high_percent, {high:g}; got {low:g}")
        return low

    @field_validator("trash_keep_min")
    @classmethod
    def _not_above_the_normal(cls, least: timedelta, info: ValidationInfo) -> timedelta:
        keep = info.data.get("trash_keep")
        if keep is not None and least > keep:
            texts = duration_text(keep), duration_text(least)
            raise ValueError("expected at most prune.trash_keep, {}; got {}".format(*texts))
        return least

    @property
    def low_percent(self) -> float:
        """The low mark of the disk, if there is a high one."""
        if self.disk_low_percent is not None:
            return self.disk_low_percent
        return max(0.0, (self.disk_high_percent or 0.0) - _BELOW_HIGH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The retention rules of one area; see :class:`s2mirror.area.WatchArea`."""

    prune_after: timedelta | None
    max_age: timedelta | None
    max_age_sensed: timedelta | None
    keep_newest: int | None
    keep_newest_per_tile: int | None
    protected: bool


def retention_of(area: Area, common: PruneSettings) -> Retention:
    """Return the rules of *area*: its own options, else the *common* ones."""
    rules: dict[str, Any] = {
        "prune_after": _limit(area.prune_after, common.after),
        "max_age": _limit(area.max_age, common.max_age),
        "max_age_sensed": _limit(area.max_age_sensed, common.max_age_sensed),
        "keep_newest": area.keep_newest or common.keep_newest,
        "keep_newest_per_tile": area.keep_newest_per_tile or common.keep_newest_per_tile,
    }
    protected = area.prune_after == NEVER and not any(v is not None for v in rules.values())
    return Retention(**rules, protected=protected)


def _limit(own: timedelta | str | None, common: timedelta | None) -> timedelta | None:
    if own is None:
        return common
    return own if isinstance(own, timedelta) else None
