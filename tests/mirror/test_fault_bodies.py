"""Wrong response bodies: only verified files are ever held."""

import pytest
from kit import Kit, OnFirstByte, tiny

from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.sandbox.faults import Cut
from s2mirror.stop import StopFlag

B02 = "B02_10m.jp2"
MIB = 1024 * 1024
LISTING = r"list-type=2"
HTML = b"<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>"


@pytest.fixture
def kit(kit: Kit) -> Kit:
    kit.sections = {
        "download": 'backoff = "1 h"\nmax_attempts = 3\ntries_per_file = 2',
    }
    return kit


@pytest.mark.long
@pytest.mark.parametrize("cut", ["reset", "close", "shorten"])
def test_cut_download_resumes_at_last_byte(kit: Kit, cut: Cut) -> None:
    product = tiny(band_bytes=2 * MIB)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, cut_after_bytes=MIB + 5, cut=cut))
    assert kit.cycle().exit_code == 0
    first, second = [found.range for found in kit.downloads() if B02 in found.path]
    assert first == ""
    start_byte = int(second.removeprefix("bytes=").removesuffix("-"))
    assert MIB - 256 * 1024 <= start_byte <= MIB + 5
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_ignored_range_doubles_no_byte(kit: Kit) -> None:
    product = tiny(band_bytes=2 * MIB)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(
        Fault(path=B02, cut_after_bytes=MIB), Fault(path=B02, ignore_range=True)
    )
    assert kit.cycle().exit_code == 0
    assert len(kit.downloaded(B02)) == 2
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_response_for_another_range_is_discarded(kit: Kit) -> None:
    product = tiny(band_bytes=2 * MIB)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(
        Fault(path=B02, cut_after_bytes=MIB),
        Fault(path=B02, headers={"Content-Range": f"bytes 0-{2 * MIB - 1}/{2 * MIB}"}),
    )
    result = kit.cycle()
    assert result.remaining
    assert "requested bytes" in kit.entry(product).reason
    kit.cycle(kit.later())
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
@pytest.mark.parametrize(
    "new", [tiny(band_bytes=2 * MIB, seed=1), tiny(band_bytes=MIB + 7)], ids=["bytes", "size"]
)
def test_object_replaced_between_tries_is_never_mixed(kit: Kit, new: SandboxProduct) -> None:
    old = tiny(band_bytes=2 * MIB)
    kit.sandbox.publish(old)
    cut = Fault(path=B02, cut_after_bytes=MIB)
    refused = Fault(path=B02, answer=Answer(status=503), times=2)
    kit.sandbox.s3_proxy.inject(cut, refused)
    assert kit.cycle().remaining
    assert kit.archive.joinpath(".s2mirror/staging", f"{old.id}.part").is_dir()
    kit.sandbox.replace(new)
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    assert [found.range for found in kit.downloads() if B02 in found.path] == [""]
    kit.assert_same_bytes(new)
    kit.assert_current(new)


@pytest.mark.long
def test_response_of_another_size_is_discarded(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    etag = f'"{listed_etag(kit, product.prefix)}"'
    longer = Answer(status=200, headers={"ETag": etag}, body=b"x" * 3000)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, answer=longer, times=2))
    assert kit.cycle().remaining
    assert kit.entry(product).state == "queued"
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_same_bytes(product)
    kit.assert_current(product)


def listed_etag(kit: Kit, prefix: str) -> str:
    files = kit.mirror().store(StopFlag()).list_product(prefix).files
    return next(file.etag for file in files if file.path.endswith(B02))


@pytest.mark.long
def test_object_replaced_after_listing_is_listed_again(
    kit: Kit,
) -> None:
    old, new = tiny(), tiny(seed=1)
    kit.sandbox.publish(old)
    kit.cycle(progress=OnFirstByte(lambda: kit.sandbox.replace(new)))
    assert "412" in kit.entry(new).reason
    assert "will be listed again" in kit.entry(new).reason
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_same_bytes(new)
    kit.assert_current(new)


@pytest.mark.long
def test_response_with_another_etag_is_discarded(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, headers={"ETag": '"0123"'}))
    assert kit.cycle().remaining
    assert 'its ETag is "0123"' in kit.entry(product).reason
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_current(product)


ERROR_PAGES = {
    "html": Answer(status=200, headers={"Content-Type": "text/html"}, body=HTML),
    "xml": Answer(
        status=200,
        headers={"Content-Type": "application/xml"},
        body=b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>",
    ),
    "nothing": Answer(status=200, body=b""),
}


@pytest.mark.long
@pytest.mark.parametrize("name", ERROR_PAGES)
def test_error_page_with_status_200_is_rejected(kit: Kit, name: str) -> None:
    products = {
        LISTING: tiny(21),
        "manifest.safe": tiny(22),
        B02: tiny(23),
    }
    for path, product in products.items():
        kit.sandbox.publish(product)
        where = f"{path}.*{product.id}|{product.id}.*{path}"
        kit.sandbox.s3_proxy.inject(Fault(path=where, answer=ERROR_PAGES[name], times=None))
    assert kit.cycle().remaining
    for path, product in products.items():
        entry = kit.entry(product)
        assert (entry.state, entry.attempts) == ("queued", 1), path
        assert entry.reason.endswith("will be tried again"), path
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_same_bytes(*products.values())
    kit.assert_current(*products.values())


@pytest.mark.long
def test_flipped_bit_costs_one_more_request(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, flip_byte=700))
    assert kit.cycle().exit_code == 0
    asked = kit.downloaded()
    assert len(kit.downloaded(B02)) == 2
    assert len(asked) == len(set(asked)) + 1
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_permanently_flipped_bit_quarantines_the_product(kit: Kit) -> None:
    kit.sections["download"] = "max_attempts = 2\ntries_per_file = 2"
    bad, good = tiny(27), tiny(25)
    kit.sandbox.publish([bad, good])
    kit.sandbox.s3_proxy.inject(Fault(path=f"{bad.id}.*{B02}", flip_byte=700, times=None))
    assert kit.cycle().remaining
    assert kit.states() == {bad.id: "queued", good.id: "archived"}
    assert kit.cycle(kit.later(minutes=5)).received_bytes == 0, "it waits for at least 10 minutes"
    assert kit.cycle(kit.later(hours=1)).exit_code == 1
    assert kit.states() == {bad.id: "quarantined", good.id: "archived"}
    assert f"{B02} has the sha3_256 digest" in kit.entry(bad).reason
    assert "after 2 downloads" in kit.entry(bad).reason
    assert len(kit.downloaded(B02)) == 5
    kit.assert_invariants()


@pytest.mark.long
def test_product_recovers_from_repeated_bad_downloads(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, flip_byte=700, times=4))
    for hours in range(2):
        assert kit.cycle(kit.later(hours=2 * hours)).remaining
        assert kit.entry(product).state == "queued"
    assert kit.cycle(kit.later(hours=8)).exit_code == 0
    assert len(kit.downloaded(B02)) == 5
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_manifest_damaged_on_its_way_is_downloaded_again(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path="manifest.safe", flip_byte=0))
    kit.cycle()
    assert kit.entry(product).state == "queued"
    assert kit.cycle(kit.later()).exit_code == 0
    assert len(kit.downloaded("manifest.safe")) == 2
    kit.assert_current(product)


@pytest.mark.long
@pytest.mark.parametrize("wait", ["7 d", "never"])
def test_quarantined_product_is_tried_again_weekly(kit: Kit, wait: str) -> None:
    kit.sections["download"] = f'max_attempts = 1\ntries_per_file = 1\nquarantine_retry = "{wait}"'
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, flip_byte=7))
    kit.cycle()
    assert kit.entry(product).state == "quarantined"
    kit.cycle(kit.later(days=6))
    assert kit.entry(product).state == "quarantined"
    kit.cycle(kit.later(days=8))
    assert kit.entry(product).state == ("archived" if wait == "7 d" else "quarantined")
    assert len(kit.downloaded(B02)) == (2 if wait == "7 d" else 1)
    kit.assert_invariants()


@pytest.mark.long
def test_requeued_product_downloads_only_its_bad_file(kit: Kit) -> None:
    # The smallest file is downloaded last, when the others are verified.
    product = tiny(band_bytes=10)
    kit.sections["store"] = "connections = 1"
    kit.sections["download"] = "max_attempts = 1"
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, flip_byte=7, times=None))
    kit.cycle()
    aside = kit.archive / f".s2mirror/quarantine/{product.id}.SAFE"
    good = {f"{product.prefix}{f.relative_to(aside)}" for f in aside.rglob("*") if f.is_file()}
    assert len(good) > 2
    kit.sandbox.s3_proxy.reset()
    assert kit.call("requeue", product.id) == 0
    assert kit.cycle().exit_code == 0
    assert len(kit.downloaded(B02)) == 1
    assert good.isdisjoint(kit.downloaded())
    kit.assert_same_bytes(product)
    kit.assert_current(product)
