"""Make one preview: find or buy its pictures, put them into the archive, write it down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.drawing import (
    FORMATS,
    Drawing,
    DrawRequest,
    Frame,
    Outcome,
    Preview,
    PreviewSource,
    Spending,
)
from s2mirror.errors import ArchiveError, PreviewError, QuotaError, UsageError
from s2mirror.planning.frames import units_of
from s2mirror.planning.previews import Wish, month_of, requests_of
from s2mirror.ports import Painter, Pictures
from s2mirror.projection import wkt
from s2mirror.stop import StopFlag

_LOCAL: Final = (PreviewSource.QUICKLOOK, PreviewSource.TCI)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureMaker:
    """Makes previews, within the month's allowance and never at the cost of the reserve of disk."""

    ledger: Ledger
    archive: Archive
    painter: Callable[[], Painter]
    """Raises CredentialError if there is no OAuth client."""
    pictures: Pictures
    allowance: Spending
    """Of a calendar month."""
    folder: str
    """Where previews go, relative to the archive root."""
    reserve_bytes: int
    now: Callable[[], datetime]

    def make(self, wish: Wish, stop: StopFlag) -> Preview:
        """Make one preview, put it into the archive and write it down.

        Files before facts: after a crash between the two it is made once more.
        """
        if self.archive.free_bytes() < self.reserve_bytes:
            raise ArchiveError(
                f"previews wait: less than archive.reserve is free at {self.archive.root}; "
                "make room, work goes on by itself"
            )
        drawings = self.draw(wish, stop)
        stem = f"{PurePosixPath(self.folder, wish.path)}.{wish.name}"
        paths = put_all(self.archive, stem, drawings)
        preview = self.outcome(
            wish,
            Outcome.MADE if paths else Outcome.EMPTY,
            paths=paths,
            reason="" if paths else "nothing is on it: no image fits, or none has data there",
            units=sum(drawing.units for drawing in drawings),
        )
        self.ledger.previews.record(preview)
        return preview

    def outcome(
        self,
        wish: Wish,
        outcome: Outcome,
        *,
        reason: str = "",
        paths: tuple[str, ...] = (),
        units: float = 0.0,
    ) -> Preview:
        """Return what came of a wish, as the ledger keeps it."""
        return Preview(
            subject=wish.subject,
            name=wish.name,
            outcome=outcome,
            paths=paths,
            reason=reason,
            made_at=self.now(),
            units=units,
        )

    def draw(self, wish: Wish, stop: StopFlag) -> list[Drawing]:
        """Find or buy the pictures of a wish; nothing is kept."""
        if wish.rule.source in _LOCAL:
            return [self._found(wish)]
        painter, requests = self.painter(), requests_of(wish)
        self._require_allowance(requests)
        return [self._bought(painter, request, stop) for request in requests]

    def _require_allowance(self, requests: tuple[DrawRequest, ...]) -> None:
        """Buy no part of a picture of which the month's allowance leaves out another."""
        month = month_of(self.now())
        units = sum(units_of(request.frame, request.script) for request in requests)
        spent, most = self.ledger.previews.spending(month), self.allowance
        if spent.units + units > most.units or spent.requests + len(requests) > most.requests:
            raise QuotaError(self._used_up(month, units))

    def _found(self, wish: Wish) -> Drawing:
        """Return a picture that the product brought along."""
        entry = wish.entry
        if entry is None or entry.path is None:
            raise UsageError(
                f"{wish.subject} is not held, so it has no picture of its own; "
                "`s2mirror preview --source process` draws one"
            )
        folder = self.archive.folder(entry.path)
        if wish.rule.source is PreviewSource.QUICKLOOK:
            return self.pictures.quicklook(folder, entry.product)
        size = wish.rule.size
        longest = max(size.width, size.height or 0)
        return self.pictures.tci(folder, longest_pixels=longest, form=wish.rule.form)

    def _bought(self, painter: Painter, request: DrawRequest, stop: StopFlag) -> Drawing:
        """Draw one picture, reserving its price first; put right what it really cost."""
        units, month = units_of(request.frame, request.script), month_of(self.now())
        if not self.ledger.previews.reserve(month, units, allowance=self.allowance):
            raise QuotaError(self._used_up(month, units))
        cost, asked = 0.0, 0
        try:
            drawing = painter.draw(request, stop)
            cost, asked = drawing.units or units, 1
        except PreviewError as error:
            cost, asked = error.units, int(error.units > 0)
            raise
        finally:
            self.ledger.previews.correct(month, cost - units, requests=asked - 1)
        return replace(drawing, units=cost)

    def _used_up(self, month: str, units: float) -> str:
        spent = self.ledger.previews.spending(month)
        return (
            f"a preview of {units:.2f} processing units would go beyond the month's allowance: "
            f"{spent.units:.1f} of {self.allowance.units:g} units and {spent.requests} of "
            f"{self.allowance.requests} requests are spent in {month}. It begins anew with the "
            "month; preview.monthly_units is what may be spent"
        )


def put_all(archive: Archive, stem: str, drawings: Sequence[Drawing]) -> tuple[str, ...]:
    """Put those of a picture's parts that are not empty into a folder; return their paths there.

    A part's number is its place among all, so that it has the same name when it is drawn anew.
    """
    return tuple(
        _put(archive, stem, number, drawing)
        for number, drawing in enumerate(drawings)
        if not drawing.is_empty
    )


def _put(archive: Archive, stem: str, number: int, drawing: Drawing) -> str:
    """Put a picture and what places it on the map into a folder; return its path there."""
    name = f"{stem}-{number + 1}" if number else stem
    for suffix, content in beside(drawing.frame, drawing.form).items():
        archive.put_file(name + suffix, content)
    path = name + FORMATS[drawing.form].suffix
    archive.put_file(path, drawing.content)
    return path


def beside(frame: Frame, form: str) -> dict[str, bytes]:
    """Return the small files that place a picture on the map, by suffix.

    Old and simple programs read the world file and the ``.prj``; GDAL and QGIS, which take the
    system from neither for a PNG, read the ``.aux.xml``.
    """
    known = FORMATS[form]
    west, _, east, north = frame.bbox
    across, down = (east - west) / frame.width, (frame.bbox[1] - north) / frame.height
    place = ", ".join(f"{part:.12f}" for part in (west, across, 0.0, north, 0.0, down))
    pam = (
        f"<PAMDataset>\n  <SRS>{frame.crs}</SRS>\n"
        f"  <GeoTransform>{place}</GeoTransform>\n</PAMDataset>\n"
    )
    return {
        known.world_suffix: frame.world_file.encode(),
        ".prj": wkt(frame.crs).encode(),
        f"{known.suffix}.aux.xml": pam.encode(),
    }
