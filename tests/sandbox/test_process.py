"""The sandbox renders like Sentinel Hub, also for the independent client sentinelhub-py."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from sentinelhub import (
    CRS,
    BBox,
    DataCollection,
    MimeType,
    SentinelHubDownloadClient,
    SentinelHubRequest,
    SHConfig,
)

from s2mirror.sandbox import ProductSpec, Sandbox, make_item

TRUE_COLOUR = """//VERSION=3
function setup() {
  return { input: ["B04", "B03", "B02", "dataMask"], output: { bands: 4 } };
}
function evaluatePixel(s) { return [2.5 * s.B04, 2.5 * s.B03, 2.5 * s.B02, s.dataMask]; }
"""
CLASSES = """//VERSION=3
function setup() {
  return { input: [{ bands: ["SCL"] }], output: { bands: 1, sampleType: "UINT8" } };
}
function evaluatePixel(s) { return { default: [s.SCL] }; }
"""
RED = """//VERSION=3
function setup() { return { input: ["B04"], output: { bands: 1, sampleType: "FLOAT32" } }; }
function evaluatePixel(s) { return [s.B04]; }
"""
BOX = (8.5, 47.1, 8.8, 47.3)


@pytest.fixture(autouse=True)
def _one_product(sandbox: Sandbox) -> None:
    sandbox.clear()
    sandbox.publish(make_item(ProductSpec(tile="32TMT")))


def body(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    day = {"from": "2026-05-27T00:00:00Z", "to": "2026-05-27T23:59:59Z"}
    return {
        "input": {
            "bounds": {"bbox": BOX},
            "data": [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": day}}],
        },
        "output": {"width": 24, "height": 16},
        "evalscript": TRUE_COLOUR,
    } | changes


def ask(sandbox: Sandbox, json: object, token: str | None = None) -> requests.Response:
    ca = str(sandbox.ca_file)
    if token is None:
        form = {
            "grant_type": "client_credentials",
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
        }
        answer = requests.post(sandbox.token_url, data=form, verify=ca, timeout=30)
        token = answer.json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    return requests.post(sandbox.process_url, json=json, headers=bearer, verify=ca, timeout=60)


def output(media: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    form = {"identifier": "default", "format": {"type": media}}
    return {"width": 24, "height": 16, "responses": [form]} | more


def pixels(answer: requests.Response) -> Any:  # noqa: ANN401 - an array
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def refused(answer: requests.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert answer.status_code == error["status"]
    parameter = error.get("errors", {}).get("parameter", error["message"])
    return error["status"], error["code"], parameter


def test_evalscript_runs_over_bands_of_area(sandbox: Sandbox) -> None:
    answer = ask(sandbox, body())
    seen = pixels(answer)
    assert seen.shape == (16, 24, 4)
    assert (seen[:, :, 3] == 255).all()
    assert len(np.unique(seen[:, :, 0])) > 10
    assert float(answer.headers["X-ProcessingUnits-Spent"]) == 0.01


def test_equal_requests_return_equal_bytes(sandbox: Sandbox) -> None:
    assert ask(sandbox, body()).content == ask(sandbox, body()).content


def test_scene_classes_are_returned_unscaled(sandbox: Sandbox) -> None:
    seen = pixels(ask(sandbox, body(evalscript=CLASSES)))
    assert set(np.unique(seen)) <= {4, 5, 6, 9}


def test_jpeg_requires_three_bands(sandbox: Sandbox) -> None:
    three = TRUE_COLOUR.replace("bands: 4", "bands: 3").replace(", s.dataMask]", "]")
    answer = ask(sandbox, body(evalscript=three, output=output("image/jpeg")))
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert pixels(answer).shape == (16, 24, 3)
    parameter = "output->responses->format->type"
    assert refused(ask(sandbox, body(output=output("image/jpeg"))))[2] == parameter


def test_harmonized_values_lack_offset_of_newer_baselines(sandbox: Sandbox) -> None:
    raw = body(evalscript=RED, output=output("image/tiff"))
    plain = pixels(ask(sandbox, raw))
    raw["input"]["data"][0]["processing"] = {"harmonizeValues": False}
    assert np.allclose(pixels(ask(sandbox, raw)), plain + 0.1, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("time", {"timeRange": {"from": "2026-05-28T00:00:00Z", "to": "2026-05-29T00:00:00Z"}}),
        ("cloud", {"maxCloudCoverage": 5}),
    ],
)
def test_image_without_product_is_empty_and_costs_units(
    sandbox: Sandbox, field: str, change: dict[str, Any]
) -> None:
    asked = body()
    asked["input"]["data"][0]["dataFilter"] |= change
    answer = ask(sandbox, asked)
    assert not pixels(answer).any(), field
    assert sandbox.process.units_spent == pytest.approx(0.01)


def test_image_is_empty_outside_geometry(sandbox: Sandbox) -> None:
    west, south, east, north = BOX
    corner = [[west, south], [east, south], [west, north], [west, south]]
    asked = body()
    asked["input"]["bounds"] = {"geometry": {"type": "Polygon", "coordinates": [corner]}}
    alpha = pixels(ask(sandbox, asked))[:, :, 3]
    assert alpha[-1, 0] == 255
    assert alpha[0, -1] == 0


def test_mosaicking_order_determines_top_product(sandbox: Sandbox) -> None:
    sandbox.publish(
        make_item(
            ProductSpec(
                tile="32TMT",
                sensed_at=ProductSpec().sensed_at.replace(hour=11),
                cloud_cover_percent=90,
            )
        )
    )
    asked = body(evalscript=CLASSES)
    recent = pixels(ask(sandbox, asked))
    asked["input"]["data"][0]["dataFilter"]["mosaickingOrder"] = "leastCC"
    clear = pixels(ask(sandbox, asked))
    assert (recent == 9).sum() > (clear == 9).sum()


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"output": {"width": 2501, "height": 16}}, "output->width"),
        ({"output": {"width": 24, "height": 0}}, "output->height"),
        ({"output": {"width": 24, "resx": 0.1}}, "output->width"),
        ({"output": {"resx": 0.0001, "resy": 0.1}}, "output->resx"),
        ({"output": {"width": 2, "height": 2}}, "output"),
        ({"output": output("image/webp")}, "output->responses->format->type"),
        ({"evalscript": ""}, "evalscript"),
        ({"input": {"bounds": {"bbox": BOX}, "data": []}}, "input->data"),
        ({"input": {"bounds": {"bbox": [9, 47, 8, 48]}, "data": [{}]}}, "input->bounds->bbox"),
        ({"input": None}, "input"),
    ],
)
def test_invalid_request_is_refused_with_parameter_name(
    sandbox: Sandbox, change: dict[str, Any], parameter: str
) -> None:
    assert refused(ask(sandbox, body(**change))) == (400, "COMMON_BAD_PAYLOAD", parameter)
    assert sandbox.process.units_spent == 0


def test_evalscript_error_has_message_of_engine(sandbox: Sandbox) -> None:
    status, code, message = refused(ask(sandbox, body(evalscript="//VERSION=3\nfunction setup( {")))
    assert (status, code) == (400, "RENDERER_EXCEPTION")
    assert "SyntaxError" in message


def test_missing_foreign_and_revoked_tokens_are_refused(sandbox: Sandbox) -> None:
    mine = ask(sandbox, body())
    assert mine.ok
    token = sandbox.identity.issued[-1]
    sandbox.identity.revoked = True
    for bad in ("", "made-up", token):
        assert refused(ask(sandbox, body(), bad))[:2] == (401, "COMMON_UNAUTHORIZED")


@pytest.mark.long
@pytest.mark.parametrize("spent", [True, False])
def test_rate_refusal_has_retry_after_in_milliseconds(sandbox: Sandbox, *, spent: bool) -> None:
    sandbox.process.units_left = 0 if spent else 10
    sandbox.process.refuse_next = 0 if spent else 1
    answer = ask(sandbox, body())
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3398")
    assert answer.json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert ask(sandbox, body()).ok is not spent


@pytest.mark.long
def test_sentinelhub_py_gets_token_and_image_unchanged(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(sandbox.ca_file))
    config = SHConfig(use_defaults=True)
    config.sh_client_id, config.sh_client_secret = sandbox.client_id, sandbox.client_secret
    config.sh_base_url = sandbox.process_url.removesuffix("/process/v1")
    config.sh_token_url = sandbox.token_url
    collection = DataCollection.SENTINEL2_L2A.define_from(
        "SANDBOX_L2A", service_url=config.sh_base_url
    )
    request = SentinelHubRequest(
        evalscript=TRUE_COLOUR,
        input_data=[
            SentinelHubRequest.input_data(
                data_collection=collection,
                time_interval=("2026-05-27", "2026-05-28"),
                mosaicking_order="leastCC",
            )
        ],
        responses=[SentinelHubRequest.output_response("default", MimeType.PNG)],
        bbox=BBox(BOX, crs=CRS.WGS84),
        size=(24, 16),
        config=config,
    )
    SentinelHubDownloadClient.clear_cache()
    sandbox.process.refuse_next = 1
    sandbox.process.retry_after_ms = 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the requested refusal
        (seen,) = request.get_data()
    assert seen.shape == (16, 24, 4)
    assert (seen == pixels(ask(sandbox, body()))).all()
    assert len(sandbox.identity.issued) == 2
