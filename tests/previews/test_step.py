"""Previews beside the main job: they are made automatically, and delay nothing."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from kit import ZURICH, Kit, tiny
from PIL import Image

from s2mirror.errors import ArchiveError, CredentialError, PreviewUnavailable, QuotaError
from s2mirror.lifecycle import Event, State
from s2mirror.model import Transition
from s2mirror.preview_model import Outcome, Preview, Spending
from s2mirror.sandbox import Answer, Fault, ProductSpec, SandboxProduct, make_item
from s2mirror.service.previews import make_all_due, previewer
from s2mirror.service.wiring import Mirror, utc_now
from s2mirror.stop import StopFlag
from s2mirror.tiles import WIDTH_METRES, tile_grid

STOP = StopFlag()
DRAWN = 'source = "process"\nwidth = 90\n'


def with_picture(made: SandboxProduct, colour: str = "green") -> SandboxProduct:
    """Return a product whose quicklook is a real JPEG."""
    out = io.BytesIO()
    Image.new("RGB", (343, 343), colour).save(out, "JPEG")
    return replace(made, files=dict(made.files) | {f"{made.id}-ql.jpg": out.getvalue()})


def of(mirror: Mirror, made: SandboxProduct) -> dict[str, Preview]:
    return mirror.ledger.previews.of(made.id)


def asked(kit: Kit) -> int:
    return kit.sandbox.process_proxy.traffic.count()


def timeless(kit: Kit) -> Mirror:
    """Open the mirror with a constant clock, so that no month ends."""
    moment = utc_now()
    return replace(kit.mirror(), now=lambda: moment)


def tile_bounds() -> tuple[int, int, int, int]:
    _, west, north = tile_grid("32TMT")
    return west, north - WIDTH_METRES, west + WIDTH_METRES, north


@pytest.fixture
def image(kit: Kit) -> Kit:
    """Return a kit whose previews are rendered."""
    kit.sections["preview"] = DRAWN
    return kit


def test_archived_product_gets_its_quicklook_as_preview(kit: Kit) -> None:
    made = with_picture(tiny())
    kit.sandbox.publish(made)
    assert kit.cycle().previews == 1
    (preview,) = of(kit.mirror(), made).values()
    assert (preview.outcome, preview.units) == (Outcome.MADE, 0)
    assert preview.paths == (f"previews/2026/05/{made.id}.quicklook.jpg",)
    held = (kit.archive / preview.paths[0]).read_bytes()
    assert held == made.files[f"{made.id}-ql.jpg"]
    assert kit.sandbox.identity_proxy.traffic.count() == 0
    kit.assert_current(made)


@pytest.mark.long
def test_partial_product_gets_its_quicklook_as_preview(kit: Kit) -> None:
    kit.areas = kit.areas.rstrip() + '\nbands = ["SCL"]\n'
    made = with_picture(tiny())
    kit.sandbox.publish(made)
    assert kit.cycle().previews == 1
    (preview,) = of(kit.mirror(), made).values()
    assert preview.outcome is Outcome.MADE


@pytest.mark.long
def test_quicklook_has_the_extent_of_its_tile(kit: Kit) -> None:
    made = with_picture(tiny())
    kit.sandbox.publish(made)
    kit.cycle()
    (preview,) = of(kit.mirror(), made).values()
    with rasterio.open(kit.archive / preview.paths[0]) as raster:
        assert raster.crs.to_epsg() == 32632
        assert tuple(raster.bounds) == pytest.approx(tile_bounds())


@pytest.mark.long
def test_product_without_quicklook_is_archived(kit: Kit) -> None:
    made = tiny()
    files = {path: content for path, content in made.files.items() if "-ql" not in path}
    kit.sandbox.publish(replace(made, files=files))
    assert kit.cycle().exit_code == 0
    (preview,) = of(kit.mirror(), made).values()
    assert preview.outcome is Outcome.FAILED
    assert "the product has no quicklook" in preview.reason
    assert make_all_due(kit.mirror(), STOP) == 0


def real_tci() -> bytes:
    """Return a small JPEG 2000 at the position of its tile, like the band of a product."""
    west, south, east, north = tile_bounds()
    pixels = np.zeros((3, 366, 366), dtype="uint8")
    pixels[0, :, :183], pixels[1, :183, :], pixels[2] = 200, 120, 40
    place = rasterio.transform.from_bounds(west, south, east, north, 366, 366)
    how = {"width": 366, "height": 366, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.io.MemoryFile(ext=".jp2") as file:
        with file.open(driver="JP2OpenJPEG", transform=place, QUALITY="100", **how) as band:
            band.write(pixels)
        return bytes(file.read())


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff"])
@pytest.mark.long
def test_true_colour_preview_keeps_its_extent(kit: Kit, form: str) -> None:
    kit.sections["preview"] = f'source = "tci"\nformat = "{form}"\nwidth = 61'
    made = tiny()
    kit.sandbox.publish(made)
    kit.cycle()
    assert "no true-colour band (TCI)" in of(kit.mirror(), made)["tci"].reason
    mirror = kit.mirror()
    band = kit.archive / made.prefix / "GRANULE/L2A/IMG_DATA/R10m/T32TMT_TCI_10m.jp2"
    band.parent.mkdir(parents=True, exist_ok=True)
    band.write_bytes(real_tci())
    mirror.ledger.previews.enqueue(["zurich"])
    mirror.ledger.connection.execute("DELETE FROM preview")
    assert make_all_due(mirror, STOP) == 1
    (preview,) = of(mirror, made).values()
    with rasterio.open(kit.archive / preview.paths[0]) as raster:
        assert (raster.width, raster.height, raster.count) == (61, 61, 3)
        assert raster.crs.to_epsg() == 32632
        assert tuple(raster.bounds) == pytest.approx(tile_bounds())
        west, east = raster.read(1)[30, 5], raster.read(1)[30, 55]
    assert (west > 150, east > 50) == (True, False)


@pytest.mark.long
def test_rendered_preview_is_made_once_per_product(image: Kit) -> None:
    made = tiny()
    image.sandbox.publish([made, tiny(day=22)])
    assert image.cycle().previews == 2
    (preview,) = of(image.mirror(), made).values()
    assert preview.paths == (f"previews/2026/05/{made.id}.true-color.png",)
    assert preview.units > 0
    image.cycle()
    make_all_due(image.mirror(), STOP)
    assert asked(image) == 2
    assert len(image.sandbox.identity.issued) == 1


@pytest.mark.long
def test_area_gets_one_preview_per_overpass(image: Kit) -> None:
    area = 'name = "both"\ntiles = ["32TMT", "32TNT"]\nstart = 2020-01-01\n'
    image.areas = f'[[area]]\n{area}preview_of = "area"\npreview_evalscript = "ndvi"\n'
    image.sections["preview"] = 'source = "process"\nwidth = 200\n'
    image.sandbox.publish([tiny(), tiny(tile="32TNT"), tiny(day=22)])
    assert image.cycle().previews == 2
    images = sorted(path.name for path in (image.archive / "previews/both").rglob("*.png"))
    assert images == ["20260522T102031_l2a.ndvi.png", "20260527T102031_l2a.ndvi.png"]


@pytest.mark.long
def test_units_are_spent_only_for_configured_areas(kit: Kit) -> None:
    kit.areas = ZURICH + 'preview = "process"\n\n' + ZURICH.replace("zurich", "free").replace(
        "8.45, 47.2, 8.85, 47.4", "9.6, 46.6, 9.7, 46.7"
    )  # fmt: skip
    kit.sections["preview"] = "width = 90"
    drawn, free = tiny(), with_picture(tiny(tile="32TNS"))
    kit.sandbox.publish([drawn, free])
    kit.cycle()
    assert set(of(kit.mirror(), drawn)) == {"true-color"}
    assert set(of(kit.mirror(), free)) == {"quicklook"}
    assert asked(kit) == 1


@pytest.mark.long
def test_empty_preview_is_neither_kept_nor_repeated(image: Kit) -> None:
    made = tiny()
    image.sections["preview"] = DRAWN + "max_cloud_cover_percent = 5"
    image.sandbox.publish(made)
    image.cycle()
    (preview,) = of(image.mirror(), made).values()
    assert (preview.outcome, preview.paths) == (Outcome.EMPTY, ())
    assert preview.units > 0
    assert not (image.archive / "previews").exists()
    image.cycle()
    assert asked(image) == 1


@pytest.mark.long
def test_monthly_allowance_defers_the_remaining_previews(
    image: Kit,
) -> None:
    image.sections["preview"] = DRAWN + "monthly_units = 0.05"
    image.sandbox.publish([tiny(day=day) for day in (12, 17, 22, 27)])
    # Not at the end of a month, as the next one could start during the test.
    days = (40 - utc_now().day) % 31
    mirror = image.later(days=days)
    result = image.cycle(mirror)
    assert (result.exit_code, result.previews) == (0, 1)
    assert image.sandbox.process.units_spent <= 0.05
    with pytest.raises(QuotaError, match=r"of 0\.05 units and 1 of 9000 requests are spent"):
        list(previewer(image.later(days=days, minutes=20)).make_due(STOP))
    assert asked(image) == 1
    assert mirror.ledger.previews.due_count() == 3
    assert make_all_due(image.later(days=days + 32), STOP) == 1


def test_concurrent_reservations_never_exceed_the_allowance(kit: Kit) -> None:
    previews, allowance = kit.mirror().ledger.previews, Spending(requests=3, units=1.0)
    assert previews.reserve("2026-06", 0.6, allowance=allowance)
    assert not previews.reserve("2026-06", 0.6, allowance=allowance)
    previews.correct("2026-06", -0.5)
    assert previews.reserve("2026-06", 0.6, allowance=allowance)
    assert previews.reserve("2026-06", 0.1, allowance=allowance)
    assert not previews.reserve("2026-06", 0.01, allowance=allowance)
    assert previews.spending("2026-06") == Spending(requests=3, units=pytest.approx(0.8))
    assert previews.spending("2026-07") == Spending(requests=0, units=0)


@pytest.mark.long
def test_reported_cost_is_the_cost_counted(image: Kit) -> None:
    headers = {"X-ProcessingUnits-Spent": "0.75"}
    image.sandbox.process_proxy.inject(Fault(headers=headers))
    image.sandbox.publish(tiny())
    mirror = timeless(image)
    image.cycle(mirror)
    assert mirror.ledger.previews.spending(f"{mirror.now():%Y-%m}").units == pytest.approx(0.75)


@pytest.mark.long
def test_refused_request_costs_nothing(image: Kit) -> None:
    refusal = Answer(status=400, body=b'{"error": {"message": "no"}}')
    image.sandbox.process_proxy.inject(Fault(answer=refusal))
    made = tiny()
    image.sandbox.publish(made)
    mirror = timeless(image)
    image.cycle(mirror)
    assert of(mirror, made)["true-color"].outcome is Outcome.FAILED
    assert mirror.ledger.previews.spending(f"{mirror.now():%Y-%m}").units == 0


def revoked(kit: Kit) -> None:
    kit.sandbox.identity.revoked = True


def tokens_refused(kit: Kit) -> None:
    answer = Answer(status=429, headers={"Retry-After": "3600"})
    kit.sandbox.identity_proxy.inject(Fault(answer=answer, times=None))


def too_fast(kit: Kit) -> None:
    kit.sandbox.process.refuse_next = 99
    kit.sandbox.process.retry_after_ms = 3_600_000


@pytest.mark.parametrize(
    ("break_it", "kind"),
    [
        (revoked, CredentialError),
        (tokens_refused, Exception),
        (too_fast, PreviewUnavailable),
    ],
)
@pytest.mark.long
def test_exhausted_allowance_still_makes_free_previews(
    image: Kit, break_it: Callable[[Kit], None], kind: type[Exception]
) -> None:
    image.areas = ZURICH + "\n" + ZURICH.replace("zurich", "free").replace(
        "8.45, 47.2, 8.85, 47.4", "9.6, 46.6, 9.7, 46.7"
    ) + 'preview = "quicklook"\n'  # fmt: skip
    products = [tiny(), tiny(day=22), with_picture(tiny(tile="32TNS", day=12))]
    image.sandbox.publish(products)
    break_it(image)
    result = image.cycle()
    assert (result.exit_code, len(result.archived)) == (1, 3), "previews fail, products do not"
    mirror = image.mirror()
    assert set(of(mirror, products[2])) == {"quicklook"}
    assert mirror.ledger.previews.due_count() == 2
    requests = image.sandbox.identity_proxy.traffic.count() + asked(image)
    assert requests <= 2
    make_all_due(mirror, STOP)
    assert image.sandbox.identity_proxy.traffic.count() + asked(image) == requests
    with pytest.raises(kind):
        list(previewer(image.later(minutes=11)).make_due(STOP))
    image.sandbox.identity.revoked = False
    image.sandbox.identity_proxy.reset()
    image.sandbox.process.refuse_next = 0
    assert make_all_due(image.later(hours=2), STOP) == 2


@pytest.mark.long
def test_impossible_preview_is_given_up_with_reason(image: Kit) -> None:
    image.sandbox.process_proxy.inject(Fault(cut_after_bytes=10, times=None))
    image.sections["preview"] = DRAWN + "max_attempts = 2"
    made = tiny()
    image.sandbox.publish(made)
    image.cycle()
    assert of(image.mirror(), made) == {}
    make_all_due(image.later(days=1), STOP)
    (preview,) = of(image.mirror(), made).values()
    assert preview.outcome is Outcome.FAILED
    assert "Connection broken" in preview.reason
    make_all_due(image.later(days=2), STOP)
    assert asked(image) == 2


@pytest.mark.long
def test_republished_product_gets_a_new_preview(image: Kit) -> None:
    made = tiny()
    image.sandbox.publish(made)
    image.cycle()
    mirror = image.mirror()
    entry = mirror.ledger.products.get(made.id)
    mirror.ledger.products.advance(entry, Transition(event=Event.REVISE), now=mirror.now())
    assert mirror.ledger.products.get(made.id).state is State.QUEUED
    assert image.cycle().previews == 1
    assert asked(image) == 2


@pytest.mark.long
def test_new_evalscript_is_rendered_for_held_products(
    image: Kit,
) -> None:
    made = tiny()
    image.sandbox.publish(made)
    image.cycle()
    image.sections["preview"] = DRAWN + 'evalscript = "false-color"'
    assert image.cycle().previews == 1
    assert set(of(image.mirror(), made)) == {"true-color", "false-color"}


@pytest.mark.long
def test_area_is_rendered_on_schedule(image: Kit) -> None:
    image.sections["preview"] = DRAWN + 'every = "7 d"\nwindow = "20 d"'
    mirror = image.later(days=0)
    recent = mirror.now().replace(microsecond=0)
    image.areas = ZURICH.replace("start = 2020-01-01", "start = 2090-01-01")
    image.sandbox.publish(make_item(ProductSpec(tile="32TMT", sensed_at=recent)))
    assert make_all_due(image.later(days=1), STOP) == 1
    assert make_all_due(image.later(days=2), STOP) == 0
    assert make_all_due(image.later(days=9), STOP) == 1
    assert len(list((image.archive / "previews/zurich").rglob("*.png"))) == 2


@pytest.mark.long
def test_previews_respect_the_disk_reserve(image: Kit) -> None:
    image.sections["preview"] = 'source = "none"'
    image.sandbox.publish(tiny())
    image.cycle()
    image.sections["preview"] = DRAWN
    mirror = image.mirror()
    mirror.ledger.previews.enqueue(["zurich"])
    step = previewer(mirror)
    full = replace(step, maker=replace(step.maker, reserve_bytes=10**18))
    with pytest.raises(ArchiveError, match=r"less than archive\.reserve is free"):
        list(full.make_due(STOP))
    assert asked(image) == 0


@pytest.mark.long
def test_ledger_migration_keeps_previews_of_held_products(kit: Kit) -> None:
    made = with_picture(tiny())
    kit.sandbox.publish(made)
    kit.sections["preview"] = 'source = "none"'
    kit.cycle()
    assert of(kit.mirror(), made) == {}
    del kit.sections["preview"]
    assert kit.cycle().previews == 1
