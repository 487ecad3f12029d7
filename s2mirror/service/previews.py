"""Previews put together: from the settings to a step that is ready, and how they stand."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.previews import ProductPictures
from s2mirror.config import Area, Settings
from s2mirror.errors import MirrorError, QuotaError, Stopped
from s2mirror.planning.preview_extents import Size
from s2mirror.planning.previews import PreviewRule, month_of
from s2mirror.planning.retry import RetryPolicy
from s2mirror.ports import PreviewRenderer
from s2mirror.preview_model import Outcome, Preview, PreviewSource, Spending
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.preview import Previewer, Schedule
from s2mirror.steps.preview_files import PreviewMaker
from s2mirror.stop import StopFlag

_RULES: Final = "preview.rules"


def preview_rule(settings: Settings, area: Area | None = None) -> PreviewRule:
    """Return what previews an area wants; without one, what [preview] alone says."""
    preview = settings.preview
    own = (area.preview, area.preview_of, area.preview_evalscript) if area else (None, None, None)
    return PreviewRule(
        source=PreviewSource(own[0] or preview.source),
        per_area=(own[1] or preview.of) == "area",
        script=own[2] or preview.evalscript,
        form=preview.format,
        crs=preview.crs,
        size=Size(
            width=preview.width,
            height=preview.height,
            metres_per_pixel=preview.metres_per_pixel,
        ),
        margin=preview.time_margin,
        max_cloud_cover_percent=preview.max_cloud_cover_percent,
        mosaicking_order=preview.mosaicking_order,
    )


def preview_rules(settings: Settings) -> dict[str, PreviewRule]:
    """Return what previews each area wants."""
    return {area.name: preview_rule(settings, area) for area in settings.area}


def allowance(settings: Settings) -> Spending:
    """Return what previews may cost in a calendar month."""
    preview = settings.preview
    return Spending(requests=preview.monthly_requests, units=preview.monthly_units)


def preview_maker(mirror: Mirror) -> PreviewMaker:
    """Return what makes single previews, with one painter and one token for all of them."""
    settings = mirror.settings

    @lru_cache(maxsize=1)
    def renderer() -> PreviewRenderer:
        from s2mirror.service.preview_client import new_renderer  # noqa: PLC0415 - see there

        return new_renderer(settings, mirror.ledger, mirror.now)

    return PreviewMaker(
        ledger=mirror.ledger,
        archive=mirror.archive,
        renderer=renderer,
        product_images=ProductPictures(),
        allowance=allowance(settings),
        folder=settings.preview.folder,
        reserve_bytes=settings.archive.reserve_bytes,
        now=mirror.now,
    )


def previewer(mirror: Mirror) -> Previewer:
    """Return the preview step, ready to use."""
    preview, download = mirror.settings.preview, mirror.settings.download
    schedule = Schedule(every=preview.every, window=preview.window) if preview.every else None
    return Previewer(
        ledger=mirror.ledger,
        maker=preview_maker(mirror),
        rules=preview_rules(mirror.settings),
        areas={area.name: area for area in mirror.areas},
        schedule=schedule,
        policy=RetryPolicy(
            max_attempts=preview.max_attempts,
            first_wait=download.backoff,
            longest_wait=download.backoff_cap,
        ),
        now=mirror.now,
        jitter=mirror.jitter,
    )


def look_again_if_changed(mirror: Mirror) -> None:
    """Let every held product have its turn once more when the areas want other previews."""
    rules = preview_rules(mirror.settings)
    wanted = repr(sorted((n, str(r.source), r.per_area, r.script.name) for n, r in rules.items()))
    if mirror.ledger.state_value(_RULES) != wanted:
        mirror.ledger.previews.enqueue(mirror.area_names)
        mirror.ledger.set_state_value(_RULES, wanted)


def make_due(step: Previewer, stop: StopFlag) -> Iterator[Preview]:
    """Make what is due, telling the log of each. Raises what the step raises."""
    for preview in step.make_due(stop):
        tell = log.info if preview.outcome is not Outcome.FAILED else log.warning
        tell(
            f"preview.{preview.outcome}",
            subject=preview.subject,
            name=preview.name,
            units=round(preview.units, 3),
            reason=preview.reason,
        )
        yield preview


def make_all_due(mirror: Mirror, stop: StopFlag) -> int:
    """Make previews until none is due; return how many. Trouble is told and holds nothing up."""
    look_again_if_changed(mirror)
    step, made = previewer(mirror), 0
    more = True
    try:
        while more:
            more = False
            for preview in make_due(step, stop):
                more = True
                made += preview.outcome is Outcome.MADE
    except Stopped:
        raise
    except MirrorError as error:
        log.warning("previews.paused", reason=str(error))
    return made


class PreviewJob:
    """The daemon's turn at previews: what it says of trouble is said once, until that is over."""

    def __init__(self, mirror: Mirror, stop: StopFlag, trouble: Callable[[str], None]) -> None:
        self._mirror = mirror
        self._step = previewer(mirror)
        self._stop = stop
        self._trouble = trouble
        self._said = ""

    def turn(self) -> None:
        """Make what is due. A used-up allowance is as the operator wishes, and no trouble."""
        self._mirror.require_archive()
        look_again_if_changed(self._mirror)
        try:
            bought = sum(preview.units > 0 for preview in make_due(self._step, self._stop))
        except Stopped:
            raise
        except MirrorError as error:
            self._say(str(error), is_trouble=not isinstance(error, QuotaError))
        else:
            if bought or not self._mirror.ledger.previews.due_count():
                self._say("", is_trouble=False)

    def _say(self, text: str, *, is_trouble: bool) -> None:
        if text and text != self._said:
            log.warning("previews.paused", reason=text)
        self._said = text
        self._trouble(text if is_trouble else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewStatus:
    """How previews stand."""

    outcomes: Mapping[Outcome, int]
    due: int
    """Products of which previews are still to be made."""
    month: str
    spent: Spending
    allowance: Spending


def preview_status(settings: Settings, ledger: Ledger, month: str) -> PreviewStatus:
    """Return how previews stand, and what they have cost in *month*."""
    counts = ledger.previews.counts()
    return PreviewStatus(
        outcomes={outcome: counts.get(outcome, 0) for outcome in Outcome},
        due=ledger.previews.due_count(),
        month=month,
        spent=ledger.previews.spending(month),
        allowance=allowance(settings),
    )


def status_now(mirror: Mirror) -> PreviewStatus:
    """Return how previews stand now."""
    return preview_status(mirror.settings, mirror.ledger, month_of(mirror.now()))
