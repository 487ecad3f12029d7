"""The preview step built from the settings, the daemon's preview job, and their status."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import PREVIEW_RULES, PREVIEWS_TROUBLE
from s2mirror.config import Area, Settings
from s2mirror.errors import MirrorError, QuotaError, Stopped
from s2mirror.planning.preview_extents import Size
from s2mirror.planning.previews import PreviewRule, month_of
from s2mirror.planning.retry import RetryPolicy
from s2mirror.ports import PreviewRenderer
from s2mirror.preview_model import Outcome, Preview, PreviewSource, Spending
from s2mirror.service.health import record_trouble
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.preview import Previewer, Schedule
from s2mirror.steps.preview_files import PreviewMaker
from s2mirror.stop import StopFlag


def preview_rule(settings: Settings, area: Area | None = None) -> PreviewRule:
    """Return the preview options of an area; without an area, those of [preview] alone."""
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
    """Return the preview options of each area."""
    return {area.name: preview_rule(settings, area) for area in settings.area}


def allowance(settings: Settings) -> Spending:
    """Return the limits of requests and processing units in a calendar month."""
    preview = settings.preview
    return Spending(requests=preview.monthly_requests, units=preview.monthly_units)


def preview_maker(mirror: Mirror) -> PreviewMaker:
    """Return the maker of single previews, with one renderer and one token for all of them."""
    settings = mirror.settings

    @lru_cache(maxsize=1)
    def renderer() -> PreviewRenderer:
        """Return a new renderer."""
        from s2mirror.service.preview_client import new_renderer  # noqa: PLC0415 - see there

        return new_renderer(settings, mirror.ledger, mirror.now)

    from s2mirror.adapters.previews import ProductImageReader  # noqa: PLC0415 - takes time

    return PreviewMaker(
        ledger=mirror.ledger,
        archive=mirror.archive,
        renderer=renderer,
        product_images=ProductImageReader(),
        allowance=allowance(settings),
        folder=settings.preview.folder,
        reserve_bytes=settings.archive.reserve_bytes,
        now=mirror.now,
    )


def previewer(mirror: Mirror) -> Previewer:
    """Return the preview step."""
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


def enqueue_if_changed(mirror: Mirror) -> None:
    """Enqueue the previews of every held product again if the areas' options have changed."""
    rules = preview_rules(mirror.settings)
    options = repr(sorted((n, str(r.source), r.per_area, r.script.name) for n, r in rules.items()))
    if mirror.ledger.state.get(PREVIEW_RULES) != options:
        mirror.ledger.previews.enqueue(mirror.area_names)
        mirror.ledger.state.set(PREVIEW_RULES, options)


def make_due(step: Previewer, stop: StopFlag) -> Iterator[Preview]:
    """Make the previews that are due, and log each. Raises the errors of the step."""
    for preview in step.make_due(stop):
        write = log.info if preview.outcome is not Outcome.FAILED else log.warning
        write(
            f"preview.{preview.outcome}",
            subject=preview.subject,
            name=preview.name,
            units=round(preview.units, 3),
            reason=preview.reason,
        )
        yield preview


def make_all_due(mirror: Mirror, stop: StopFlag) -> int:
    """Make previews until none is due; return how many. Errors are logged and delay nothing."""
    enqueue_if_changed(mirror)
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
        text = "" if isinstance(error, QuotaError) else str(error)
        record_trouble(mirror.ledger, PREVIEWS_TROUBLE, text, now=mirror.now())
    else:
        record_trouble(mirror.ledger, PREVIEWS_TROUBLE, "", now=mirror.now())
    return made


class PreviewJob:
    """The daemon's preview job. It logs a problem once, until the problem is over."""

    def __init__(self, mirror: Mirror, stop: StopFlag, on_problem: Callable[[str], None]) -> None:
        self._mirror = mirror
        self._step = previewer(mirror)
        self._stop = stop
        self._on_problem = on_problem
        self._problem = ""

    def run(self) -> None:
        """Make the previews that are due. A used-up monthly limit is no problem: it was chosen."""
        self._mirror.require_archive()
        enqueue_if_changed(self._mirror)
        try:
            paid = sum(preview.units > 0 for preview in make_due(self._step, self._stop))
        except Stopped:
            raise
        except MirrorError as error:
            self._report(str(error), is_problem=not isinstance(error, QuotaError))
        else:
            if paid or not self._mirror.ledger.previews.due_count():
                self._report("", is_problem=False)

    def _report(self, text: str, *, is_problem: bool) -> None:
        if text and text != self._problem:
            log.warning("previews.paused", reason=text)
        self._problem = text
        trouble = text if is_problem else ""
        record_trouble(self._mirror.ledger, PREVIEWS_TROUBLE, trouble, now=self._mirror.now())
        self._on_problem(trouble)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewStatus:
    """The status of previews."""

    outcomes: Mapping[Outcome, int]
    due: int
    """Products without their preview yet."""
    month: str
    spent: Spending
    allowance: Spending


def preview_status(settings: Settings, ledger: Ledger, month: str) -> PreviewStatus:
    """Return the status of previews, and what they have cost in *month*."""
    counts = ledger.previews.counts()
    return PreviewStatus(
        outcomes={outcome: counts.get(outcome, 0) for outcome in Outcome},
        due=ledger.previews.due_count(),
        month=month,
        spent=ledger.previews.spending(month),
        allowance=allowance(settings),
    )


def current_preview_status(mirror: Mirror) -> PreviewStatus:
    """Return the status of previews in this month."""
    return preview_status(mirror.settings, mirror.ledger, month_of(mirror.now()))
