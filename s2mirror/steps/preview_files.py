"""Make one preview: find or render its images, put them into the archive, record it."""

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
    """Makes previews within the month's allowance, and without using the disk's reserve."""

    ledger: Ledger
    archive: Archive
    renderer: Callable[[], PreviewRenderer]
    """Raises CredentialError if there is no OAuth client."""
    product_images: ProductImages
    allowance: Spending
    """Limits per calendar month."""
    folder: str
    """The folder of previews, relative to the archive root."""
    reserve_bytes: int
    now: Callable[[], datetime]

    def make(self, task: PreviewTask, stop: StopFlag) -> Preview:
        """Make one preview, put it into the archive and record it.

        Files before rows: after a crash between the two, the preview is made again.
        """
        if self.archive.free_bytes() < self.reserve_bytes:
            raise ArchiveError(
                f"previews wait: less than archive.reserve is free at {self.archive.root}; "
                "free disk space, and previews continue"
            )
        images = self.render(task, stop)
        stem = f"{PurePosixPath(self.folder, task.path)}.{task.name}"
        paths = put_all(self.archive, stem, images)
        preview = self.outcome(
            task,
            Outcome.MADE if paths else Outcome.EMPTY,
            paths=paths,
            reason=""
            if paths
            else "it is empty: no satellite image matches, or none has data there",
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
        """Return the result of a preview as the ledger records it."""
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
        """Return the images of a preview, found in the product or rendered; nothing is stored."""
        if task.rule.source in _LOCAL:
            return [self._included(task)]
        renderer, requests = self.renderer(), requests_of(task)
        self._require_allowance(requests)
        return [self._rendered(renderer, request, stop) for request in requests]

    def _require_allowance(self, requests: tuple[RenderRequest, ...]) -> None:
        """Raise QuotaError unless the month's allowance covers all parts of an image."""
        month = month_of(self.now())
        units = sum(units_of(request.extent, request.script) for request in requests)
        spent, most = self.ledger.previews.spending(month), self.allowance
        if spent.units + units > most.units or spent.requests + len(requests) > most.requests:
            raise QuotaError(self._used_up(month, units))

    def _included(self, task: PreviewTask) -> RenderedImage:
        """Return an image that is part of the product."""
        entry = task.entry
        if entry is None or entry.path is None:
            raise UsageError(
                f"{task.subject} is not held, so it has no image of its own; "
                "`s2mirror preview --source process` renders one"
            )
        files = self.archive.files_of(entry.path)
        if task.rule.source is PreviewSource.QUICKLOOK:
            return self.product_images.quicklook(files, entry.product)
        size = task.rule.size
        longest = max(size.width, size.height or 0)
        return self.product_images.tci(
            files, entry.product, longest_pixels=longest, form=task.rule.form
        )

    def _rendered(
        self, renderer: PreviewRenderer, request: RenderRequest, stop: StopFlag
    ) -> RenderedImage:
        """Render one image: reserve its estimated cost first, then record the true one."""
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
            f"a preview of {units:.2f} processing units would exceed the month's allowance: "
            f"{spent.units:.1f} of {self.allowance.units:g} units and {spent.requests} of "
            f"{self.allowance.requests} requests are spent in {month}. Wait for the next "
            "month, or raise preview.monthly_units"
        )


def put_all(archive: Archive, stem: str, images: Sequence[RenderedImage]) -> tuple[str, ...]:
    """Store the parts of an image that are not empty; return their paths.

    A part is numbered by its position among all parts, so that its name stays the same when it is
    rendered again.
    """
    return tuple(
        _put(archive, stem, number, image)
        for number, image in enumerate(images)
        if not image.is_empty
    )


def _put(archive: Archive, stem: str, number: int, image: RenderedImage) -> str:
    """Store an image and its georeferencing files; return the image's path."""
    name = f"{stem}-{number + 1}" if number else stem
    for suffix, content in georeferencing_files(image.extent, image.form).items():
        archive.put_file(name + suffix, content)
    path = name + FORMATS[image.form].suffix
    archive.put_file(path, image.content)
    return path


def georeferencing_files(extent: Extent, form: str) -> dict[str, bytes]:
    """Return the georeferencing files of an image, by suffix.

    Simple programs read the world file and the ``.prj``; GDAL and QGIS read the coordinate system
    of a PNG only from the ``.aux.xml``.
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
