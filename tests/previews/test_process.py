"""The Process API as the mirror uses it: requests, responses and errors."""

import gzip
import io
import json
import struct
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from previews_kit import FRAME, Clock, Hurried, hub, request, tokens
from rasterio.io import MemoryFile

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.previews import HubOptions, SentinelHub
from s2mirror.adapters.previews.decoding import is_empty
from s2mirror.adapters.previews.error_map import retry_after_seconds
from s2mirror.config.previews import built_in_scripts, script_named
from s2mirror.errors import (
    CredentialError,
    PreviewError,
    PreviewUnavailable,
    Stopped,
    TokenUnavailable,
)
from s2mirror.preview_model import Extent
from s2mirror.sandbox import Answer, Fault, ProductSpec, Sandbox, make_item
from s2mirror.sandbox.image_files import geotiff
from s2mirror.service.preview_client import BackoffRenderer
from s2mirror.stop import StopFlag

STOP = StopFlag()
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture(autouse=True)
def _one_product(sandbox: Sandbox) -> None:
    sandbox.publish(make_item(ProductSpec(tile="32TMT")))


def asked(sandbox: Sandbox) -> int:
    return sandbox.process_proxy.traffic.count()


def pixels(content: bytes) -> Any:  # noqa: ANN401 - an array
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("name", sorted(built_in_scripts()))
@pytest.mark.parametrize("form", ["png", "jpeg", "tiff"])
def test_every_shipped_evalscript_renders_in_every_format(
    sandbox: Sandbox, tmp_path: Path, name: str, form: str
) -> None:
    script = script_named(name, Path())
    fit = script.without_alpha() if form == "jpeg" else script
    image = hub(sandbox, tmp_path).render(request(script=fit, form=form), STOP)
    seen = pixels(image.content)
    assert seen.shape == (16, 24, 3 if form == "jpeg" else 4)
    assert not image.is_empty
    assert image.units == pytest.approx(sandbox.process.units_spent, rel=1e-3)


def test_request_has_all_parameters_and_harmonizes_values(sandbox: Sandbox, tmp_path: Path) -> None:
    ring = [[8.5, 47.1], [8.8, 47.1], [8.5, 47.3], [8.5, 47.1]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    wanted = request(
        geometry_geojson=json.dumps(geometry),
        max_cloud_cover_percent=60.0,
        mosaicking_order="leastCC",
    )
    hub(sandbox, tmp_path).render(wanted, STOP)
    (body,) = sandbox.process.requests
    del body["evalscript"]
    assert body == {
        "input": {
            "bounds": {
                "bbox": [8.5, 47.1, 8.8, 47.3],
                "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/4326"},
                "geometry": geometry,
            },
            "data": [
                {
                    "type": "sentinel-2-l2a",
                    "dataFilter": {
                        "timeRange": {
                            "from": "2026-05-27T09:00:00Z",
                            "to": "2026-05-27T12:00:00Z",
                        },
                        "mosaickingOrder": "leastCC",
                        "maxCloudCoverage": 60.0,
                    },
                    "processing": {"harmonizeValues": True},
                }
            ],
        },
        "output": {
            "width": 24,
            "height": 16,
            "responses": [{"identifier": "default", "format": {"type": "image/png"}}],
        },
    }


def test_geotiff_has_the_requested_bounds(sandbox: Sandbox, tmp_path: Path) -> None:
    bbox = (461_000.0, 5_216_000.0, 485_000.0, 5_238_000.0)
    extent = Extent(crs="EPSG:32632", bbox=bbox, width=24, height=22)
    image = hub(sandbox, tmp_path).render(request(extent=extent, form="tiff"), STOP)
    with MemoryFile(image.content) as file, file.open() as raster:
        assert raster.crs.to_epsg() == 32632
        assert tuple(raster.bounds) == bbox


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff"])
def test_empty_image_is_recognised_and_charged(sandbox: Sandbox, tmp_path: Path, form: str) -> None:
    script = script_named("true-color", Path())
    wanted = request(
        form=form,
        script=script.without_alpha() if form == "jpeg" else script,
        time_until=datetime(2026, 5, 27, 10, tzinfo=UTC),
    )
    image = hub(sandbox, tmp_path).render(wanted, STOP)
    assert image.is_empty
    assert image.units > 0


@pytest.mark.parametrize(
    ("mode", "colour", "empty"),
    [
        ("RGBA", (0, 0, 0, 0), True),
        ("RGBA", (9, 9, 9, 0), True),
        ("RGBA", (0, 0, 0, 1), False),
        ("RGB", (0, 0, 0), True),
        ("RGB", (0, 1, 0), False),
        ("L", 0, True),
        ("L", 4, False),
        ("LA", (200, 0), True),
        ("P", 0, False),
    ],
)
def test_only_blank_png_counts_as_empty(mode: str, colour: Any, *, empty: bool) -> None:  # noqa: ANN401 - as Pillow takes it
    out = io.BytesIO()
    Image.new(mode, (7, 5), colour).save(out, "PNG")
    assert is_empty(out.getvalue(), "png", (7, 5)) is empty


def test_single_visible_pixel_is_not_empty() -> None:
    out = io.BytesIO()
    drawn = Image.new("RGBA", (300, 200))
    drawn.putpixel((299, 199), (0, 0, 0, 255))
    drawn.save(out, "PNG")
    assert not is_empty(out.getvalue(), "png", (300, 200))


def png(width: int, height: int, *, pixels: bytes, interlaced: bool = False) -> bytes:
    """Return a PNG of four bands, whose header need not match its pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, interlaced)),
        (b"IDAT", zlib.compress(pixels)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + b"\0\0\0\0" for kind, body in chunks
    )


@pytest.mark.parametrize(
    ("width", "height"), [(100_000, 100_000), (4, 0), (0, 4), (4, 5), (5, 4), (2**32 - 1, 4)]
)
def test_png_of_another_size_is_never_decoded(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"it has {width} by {height} pixels; 4 by 4 were reque"):
        is_empty(png(width, height, pixels=bytes(10_000)), "png", (4, 4))


@pytest.mark.parametrize("size", [(0, 0), (0, 4), (4, 0)])
def test_image_without_pixels_is_no_image(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="pixels"):
        is_empty(png(*size, pixels=bytes(100)), "png", size)


@pytest.mark.parametrize("form", ["jpeg", "tiff"])
def test_raster_of_another_size_is_never_decoded(form: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, form.upper())
    with pytest.raises(ValueError, match="it has 40 by 30 pixels; 30 by 40 were requested"):
        is_empty(out.getvalue(), form, (30, 40))


@pytest.mark.parametrize(("form", "other"), [("jpeg", "PNG"), ("tiff", "JPEG"), ("png", "GIF")])
def test_image_of_another_format_is_refused(form: str, other: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, other)
    with pytest.raises(ValueError, match=f"it is no {form}"):
        is_empty(out.getvalue(), form, (4, 4))


def test_tiff_of_one_large_part_is_refused() -> None:
    pixels = np.zeros((1500, 1500, 4), dtype="uint32")
    with pytest.raises(ValueError, match="it is stored in parts of 36000000 B"):
        is_empty(geotiff(pixels, FRAME.bbox, FRAME.crs), "tiff", (1500, 1500))


def test_tiff_of_many_bands_is_refused() -> None:
    pixels = np.zeros((4, 4, 40), dtype="uint8")
    with pytest.raises(ValueError, match="it has 40 bands of 1 B"):
        is_empty(geotiff(pixels, FRAME.bbox, FRAME.crs), "tiff", (4, 4))


def test_interlaced_png_counts_as_not_empty() -> None:
    assert not is_empty(png(4, 4, pixels=b"", interlaced=True), "png", (4, 4))


@pytest.mark.parametrize(("alpha", "empty"), [(0, True), (1, False)])
def test_tiff_is_empty_by_its_alpha_band(*, alpha: int, empty: bool) -> None:
    pixels = np.full((3, 5, 4), 9, dtype="uint8")
    pixels[:, :, 3] = alpha
    assert is_empty(geotiff(pixels, FRAME.bbox, FRAME.crs), "tiff", (5, 3)) is empty


class Leaving(StopFlag):
    """A stop flag that is set during a wait."""

    def wait(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - as the flag has it
        self.set()
        return True


def test_waiting_for_busy_service_respects_stop_flag(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.process.refuse_next = 9
    with pytest.raises(Stopped):
        hub(sandbox, tmp_path).render(request(), Leaving())
    assert asked(sandbox) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=200, body=b"<html>log in</html>"),
        Answer(status=200, body=b"\x89PNG\r\n\x1a\n"),
        Answer(status=200, body=png(24, 16, pixels=bytes(10))),
        Answer(status=200, body=png(9, 9, pixels=bytes(9 * 37))),
        Answer(status=200, body=png(24, 0, pixels=bytes(9 * 37))),
        Answer(status=200, body=b""),
    ],
    ids=["login page", "cut", "too few pixels", "another size", "no height", "nothing"],
)
def test_response_without_image_is_never_accepted(
    sandbox: Sandbox, tmp_path: Path, answer: Answer
) -> None:
    sandbox.process_proxy.inject(Fault(answer=answer, times=None))
    with pytest.raises(PreviewUnavailable, match="cannot be used"):
        hub(sandbox, tmp_path, tries=1).render(request(), STOP)


def test_cut_image_is_charged_and_not_retried(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.process_proxy.inject(Fault(cut_after_bytes=100))
    with pytest.raises(PreviewUnavailable, match="will be tried again") as caught:
        hub(sandbox, tmp_path).render(request(), STOP)
    assert caught.value.units == pytest.approx(0.01)
    assert asked(sandbox) == 1


def test_slow_image_is_charged_and_not_retried(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.process_proxy.inject(Fault(bytes_per_second=200, times=None))
    with pytest.raises(PreviewUnavailable, match="was not complete within 2 s") as caught:
        hub(sandbox, tmp_path, timeout_seconds=0.4).render(request(), STOP)
    assert caught.value.units == pytest.approx(0.01)
    assert asked(sandbox) == 1


def test_image_larger_than_any_rendered_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    bomb = Answer(status=200, headers=GZIP, body=gzip.compress(bytes(40 * 1024**2)))
    sandbox.process_proxy.inject(Fault(answer=bomb, times=None))
    with pytest.raises(PreviewUnavailable, match="the response has more than 33554432 B"):
        hub(sandbox, tmp_path).render(request(), Hurried())
    assert asked(sandbox) == 1


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"error": NaN}', b'{"error": {"code": 1e999}}'])
def test_odd_json_in_an_error_is_no_bug(sandbox: Sandbox, tmp_path: Path, body: bytes) -> None:
    sandbox.process_proxy.inject(Fault(answer=Answer(status=400, body=body)))
    with pytest.raises(PreviewError, match="answered 400"):
        hub(sandbox, tmp_path).render(request(), STOP)


def test_retry_after_is_read_as_milliseconds(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.process.refuse_next = 2
    stop = Hurried()
    assert hub(sandbox, tmp_path).render(request(), stop).content
    assert stop.waits == [3.398, 3.398]
    assert retry_after_seconds("3398") == 3.398
    assert retry_after_seconds("soon") == 0
    assert retry_after_seconds("9" * 40) == 31 * 86_400


def test_every_command_respects_a_long_retry_after(sandbox: Sandbox, tmp_path: Path) -> None:
    clock, stop = Clock(), Hurried()
    sandbox.process.refuse_next, sandbox.process.retry_after_ms = 1, 7_200_000
    with pytest.raises(PreviewUnavailable, match="RATE_LIMIT_EXCEEDED"):
        command(sandbox, tmp_path, clock).render(request(), stop)
    for _ in range(2):
        clock.turn(minutes=39)
        with pytest.raises(PreviewUnavailable, match="no request before 2026-06-01 14:00 UTC"):
            command(sandbox, tmp_path, clock).render(request(), stop)
    assert (asked(sandbox), stop.waits) == (1, [])
    clock.turn(minutes=43)
    assert command(sandbox, tmp_path, clock).render(request(), stop).content


def test_every_command_respects_the_token_endpoints_retry_after(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    clock, stop = Clock(), Hurried()
    busy = Answer(status=429, headers={"Retry-After": "3600"})
    sandbox.identity_proxy.inject(Fault(answer=busy, times=1))
    with pytest.raises(TokenUnavailable, match="answered 429"):
        command(sandbox, tmp_path, clock).render(request(), stop)
    with pytest.raises(PreviewUnavailable, match="no request before 2026-06-01 13:00 UTC"):
        command(sandbox, tmp_path, clock).render(request(), stop)
    assert sandbox.identity_proxy.traffic.count() == 1
    clock.turn(minutes=61)
    assert command(sandbox, tmp_path, clock).render(request(), stop).content


def command(sandbox: Sandbox, folder: Path, clock: Clock) -> BackoffRenderer:
    """Return a renderer as in a new process: only the ledger has earlier state."""
    return BackoffRenderer(hub(sandbox, folder), open_ledger(folder / "ledger.sqlite"), clock.now)


def test_unavailable_service_is_retried_with_growing_delays(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.process_proxy.inject(Fault(answer=Answer(status=503), times=None))
    stop = Hurried()
    with pytest.raises(PreviewUnavailable, match="it answered 503; will be tried again"):
        hub(sandbox, tmp_path).render(request(), stop)
    assert asked(sandbox) == 5
    assert stop.waits == sorted(stop.waits)


def test_rejected_token_is_renewed_once(sandbox: Sandbox, tmp_path: Path) -> None:
    renderer = hub(sandbox, tmp_path)
    renderer.render(request(), STOP)
    sandbox.identity.issued.clear()
    assert renderer.render(request(), STOP).content
    assert len(sandbox.identity.issued) == 1
    assert asked(sandbox) == 3


def test_revoked_client_is_a_credential_error(sandbox: Sandbox, tmp_path: Path) -> None:
    renderer = hub(sandbox, tmp_path)
    renderer.render(request(), STOP)
    sandbox.identity.revoked = True
    with pytest.raises(CredentialError, match="has expired or was revoked"):
        renderer.render(request(), STOP)


def test_client_without_permission_is_not_retried(sandbox: Sandbox, tmp_path: Path) -> None:
    document = {
        "error": {"status": 403, "code": "COMMON_INSUFFICIENT_PERMISSIONS", "message": "no"}
    }
    answer = Answer(status=403, body=json.dumps(document).encode())
    sandbox.process_proxy.inject(Fault(answer=answer))
    with pytest.raises(CredentialError, match="COMMON_INSUFFICIENT_PERMISSIONS: no"):
        hub(sandbox, tmp_path).render(request(), STOP)
    assert asked(sandbox) == 1


def test_wrong_request_names_parameter_without_retry(sandbox: Sandbox, tmp_path: Path) -> None:
    wanted = request(extent=replace(FRAME, width=2501))
    with pytest.raises(PreviewError, match="output->width: must be from 1 to 2500") as caught:
        hub(sandbox, tmp_path).render(wanted, STOP)
    assert not caught.value.transient
    assert asked(sandbox) == 1


def test_broken_evalscript_error_quotes_the_service(sandbox: Sandbox, tmp_path: Path) -> None:
    own = tmp_path / "own.js"
    own.write_text("//VERSION=3\nfunction setup( {")
    with pytest.raises(PreviewError, match=r"RENDERER_EXCEPTION: .*SyntaxError"):
        hub(sandbox, tmp_path).render(request(script=script_named(str(own), Path())), STOP)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=405), "check endpoints.process_url"),
        (Answer(status=302, headers={"Location": "https://localhost:1/"}), "is not followed"),
        (Answer(status=400, body=b'{"error": "plain words"}'), r"400 \(plain words\)"),
        (Answer(status=400, body=b"[1]"), "400; the request"),
    ],
)
def test_other_responses_have_status_and_advice(
    sandbox: Sandbox, tmp_path: Path, answer: Answer, words: str
) -> None:
    sandbox.process_proxy.inject(Fault(answer=answer))
    with pytest.raises(PreviewError, match=words):
        hub(sandbox, tmp_path).render(request(), STOP)


def test_netrc_file_does_not_replace_the_token(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert hub(sandbox, tmp_path).render(request(), STOP).content


def test_rendering_respects_the_stop_flag(sandbox: Sandbox, tmp_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(Stopped):
        hub(sandbox, tmp_path).render(request(), stop)
    assert asked(sandbox) == 0


def test_jpeg_without_rasterio_fails_before_any_cost(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rasterio.__version__
    monkeypatch.setattr("s2mirror.adapters.previews.decoding.find_spec", lambda _: None)
    with pytest.raises(PreviewError, match=r"s2mirror\[preview\]"):
        hub(sandbox, tmp_path).render(request(form="jpeg"), STOP)
    assert asked(sandbox) == 0


@pytest.mark.long
def test_thousand_previews_use_seven_tokens(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = Clock()
    options = HubOptions(url=sandbox.process_url, ca_file=sandbox.ca_file)
    renderer = SentinelHub(options, tokens(sandbox, tmp_path, clock))
    wanted = request(extent=replace(FRAME, width=2, height=2, bbox=(8.5, 47.1, 8.51, 47.11)))
    for _ in range(1000):
        assert renderer.render(wanted, STOP).content
        clock.turn(seconds=3.6)
    # Each lives 600 s and is renewed 60 s before its end: 3600 / 540, rounded up.
    assert len(sandbox.identity.issued) == 7
