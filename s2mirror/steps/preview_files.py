"""Make one preview: find or buy its images, put them into the archive, write it down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.crs import wkt
from s2mirror.errors import ArchiveError, PreviewError, QuotaError, UsageError
from s2mirror.planning.preview_extents import units_of
from s2mirror.planning.previews import PreviewTask, month_of, requests_of
from s2mirror.ports import PreviewRenderer, ProductImages
from s2mirror.preview_model import (
    FORMATS,
    Extent,
    Outcome,
    Preview,
    PreviewSource,
    RenderedImage,
    RenderRequest,
    Spending,
)
from s2mirror.stop import StopFlag

_LOCAL: Final = (PreviewSource.QUICKLOOK, PreviewSource.TCI)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewMaker:
    """Makes previews, within the month's allowance and never at the cost of the reserve of disk."""

    ledger: Ledger
    archive: Archive
    renderer: Callable[[], PreviewRenderer]
    """Raises CredentialError if there is no OAuth client."""
    product_images: ProductImages
    allowance: Spending
    """Of a calendar month."""
    folder: str
    """Where previews go, relative to the archive root."""
    reserve_bytes: int
    now: Callable[[], datetime]

    def make(self, task: PreviewTask, stop: StopFlag) -> Preview:
        """Make one preview, put it into the archive and write it down.

        Files before facts: after a crash between the two it is made once more.
        """
        if self.archive.free_bytes() < self.reserve_bytes:
            raise ArchiveError(
                f"previews wait: less than archive.reserve is free at {self.archive.root}; "
                "make room, work goes on by itself"
            )
        images = self.render(task, stop)
        stem = f"{PurePosixPath(self.folder, task.path)}.{task.name}"
        paths = put_all(self.archive, stem, images)
        preview = self.outcome(
            task,
            Outcome.MADE if paths else Outcome.EMPTY,
            paths=paths,
            reason="" if paths else "nothing is on it: no image fits, or none has data there",
            units=sum(image.units for image in images),
        )
        self.ledger.previews.record(preview)
        return preview

    def outcome(
        self,
        task: PreviewTask,
        outcome: Outcome,
        *,
        reason: str = "",
        paths: tuple[str, ...] = (),
        units: float = 0.0,
    ) -> Preview:
        """Return what came of a wish, as the ledger keeps it."""
        return Preview(
            subject=task.subject,
            name=task.name,
            outcome=outcome,
            paths=paths,
            reason=reason,
            made_at=self.now(),
            units=units,
        )

    def render(self, task: PreviewTask, stop: StopFlag) -> list[RenderedImage]:
        """Find or buy the images of a wish; nothing is kept."""
        if task.rule.source in _LOCAL:
            return [self._found(task)]
        renderer, requests = self.renderer(), requests_of(task)
        self._require_allowance(requests)
        return [self._bought(renderer, request, stop) for request in requests]

    def _require_allowance(self, requests: tuple[RenderRequest, ...]) -> None:
        """Buy no part of an image of which the month's allowance leaves out another."""
        month = month_of(self.now())
        units = sum(units_of(request.extent, request.script) for request in requests)
        spent, most = self.ledger.previews.spending(month), self.allowance
        if spent.units + units > most.units or spent.requests + len(requests) > most.requests:
            raise QuotaError(self._used_up(month, units))

    def _found(self, task: PreviewTask) -> RenderedImage:
        """Return an image that the product brought along."""
        entry = task.entry
        if entry is None or entry.path is None:
            raise UsageError(
                f"{task.subject} is not held, so it has no image of its own; "
                "`s2mirror preview --source process` draws one"
            )
        folder = self.archive.folder(entry.path)
        if task.rule.source is PreviewSource.QUICKLOOK:
            return self.product_images.quicklook(folder, entry.product)
        size = task.rule.size
        longest = max(size.width, size.height or 0)
        return self.product_images.tci(folder, longest_pixels=longest, form=task.rule.form)

    def _bought(
        self, renderer: PreviewRenderer, request: RenderRequest, stop: StopFlag
    ) -> RenderedImage:
        """Draw one image, reserving its price first; put right what it really cost."""
        units, month = units_of(request.extent, request.script), month_of(self.now())
        if not self.ledger.previews.reserve(month, units, allowance=self.allowance):
            raise QuotaError(self._used_up(month, units))
        cost, asked = 0.0, 0
        try:
            image = renderer.render(request, stop)
            cost, asked = image.units or units, 1
        except PreviewError as error:
            cost, asked = error.units, int(error.units > 0)
            raise
        finally:
            self.ledger.previews.correct(month, cost - units, requests=asked - 1)
        return replace(image, units=cost)

    def _used_up(self, month: str, units: float) -> str:
        spent = self.ledger.previews.spending(month)
        return (
            f"a preview of {units:.2f} processing units would go beyond the month's allowance: "
            f"{spent.units:.1f} of {self.allowance.units:g} units and {spent.requests} of "
            f"{self.allowance.requests} requests are spent in {month}. It begins anew with the "
            "month; preview.monthly_units is what may be spent"
        )


def put_all(archive: Archive, stem: str, images: Sequence[RenderedImage]) -> tuple[str, ...]:
    """Put those of an image's parts that are not empty into a folder; return their paths there.

    A part's number is its place among all, so that it has the same name when it is drawn anew.
    """
    return tuple(
        _put(archive, stem, number, image)
        for number, image in enumerate(images)
        if not image.is_empty
    )


def _put(archive: Archive, stem: str, number: int, image: RenderedImage) -> str:
    """Put an image and what places it on the map into a folder; return its path there."""
    name = f"{stem}-{number + 1}" if number else stem
    for suffix, content in beside(image.extent, image.form).items():
        archive.put_file(name + suffix, content)
    path = name + FORMATS[image.form].suffix
    archive.put_file(path, image.content)
    return path


def beside(extent: Extent, form: str) -> dict[str, bytes]:
    """Return the small files that place an image on the map, by suffix.

    Old and simple programs read the world file and the ``.prj``; GDAL and QGIS, which take the
    system from neither for a PNG, read the ``.aux.xml``.
    """
    known = FORMATS[form]
    west, _, east, north = extent.bbox
    across, down = (east - west) / extent.width, (extent.bbox[1] - north) / extent.height
    place = ", ".join(f"{part:.12f}" for part in (west, across, 0.0, north, 0.0, down))
    pam = (
        f"<PAMDataset>\n  <SRS>{extent.crs}</SRS>\n"
        f"  <GeoTransform>{place}</GeoTransform>\n</PAMDataset>\n"
    )
    return {
        known.world_suffix: extent.world_file.encode(),
        ".prj": wkt(extent.crs).encode(),
        f"{known.suffix}.aux.xml": pam.encode(),
    }
