"""Faults of the store, one per test: the state of the product, and of all others."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any
from xml.sax.saxutils import escape

import pytest
from kit import SENSED_AT, Kit, OnFirstByte, tiny
from mirror_kit import claiming, with_item

from s2mirror.errors import CredentialError, Stopped
from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.stop import StopFlag

pytestmark = pytest.mark.long

B02 = "B02_10m.jp2"
MIB = 1024 * 1024
STAMP = "%Y%m%dT%H%M%S"
LISTING = r"list-type=2"
AGAIN = "will be tried again"
HTML = b"<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>"


@pytest.fixture
def kit(kit: Kit) -> Kit:
    kit.sections = {
        "download": 'backoff = "1 h"\nmax_attempts = 3\ntries_per_file = 2',
    }
    return kit


def ruined(product: SandboxProduct, ending: str, content: bytes) -> SandboxProduct:
    """Return *product* with other bytes in one file, and an unchanged manifest."""
    path = next(path for path in product.files if path.endswith(ending))
    return replace(product, files={**product.files, path: content})


# Catalog, listing and manifest disagree


def test_object_missing_for_ever_fails_the_product(
    kit: Kit,
) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.store.delete([key for key in product.keys if key.endswith(B02)])
    for day in range(2):
        assert kit.cycle(kit.later(days=day)).remaining
        assert kit.entry(product).state == "queued"
        assert "the catalog is ahead of the store" in kit.entry(product).reason
    assert kit.cycle(kit.later(days=3)).exit_code == 1
    assert kit.entry(product).state == "failed"
    assert "gave up after 3 attempts; the last: the store lacks 1 of the 4" in (
        kit.entry(product).reason
    )
    kit.assert_invariants()


@pytest.mark.parametrize("missing", ["", "manifest.safe", B02])
def test_product_waits_for_its_late_objects(kit: Kit, missing: str) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.store.delete([key for key in product.keys if key.endswith(missing)])
    assert kit.cycle().remaining
    assert kit.entry(product).state == "queued"
    assert "the catalog is ahead of the store" in kit.entry(product).reason
    kit.sandbox.store.put(product.keys)
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_same_bytes(product)
    kit.assert_current(product)


def test_size_unlike_manifest_downloads_no_band(
    kit: Kit,
) -> None:
    kit.sections["download"] = "max_attempts = 1"
    product = tiny()
    kit.sandbox.publish(ruined(product, B02, b"short"))
    assert kit.cycle().exit_code == 1
    assert kit.entry(product).state == "quarantined"
    assert "has 5 B in the store, 2000 B in manifest.safe" in kit.entry(product).reason
    assert kit.downloaded("jp2") == []
    kit.assert_invariants()


def test_manifest_overrides_wrong_catalog_checksum(kit: Kit) -> None:
    def spoil(item: dict[str, Any]) -> None:
        for asset in item["assets"].values():
            if "file:checksum" in asset:
                asset["file:checksum"] = "d50120" + "00" * 32

    product = with_item(tiny(), spoil)
    assert "d50120" in str(product.item["assets"])
    kit.sandbox.publish(product)
    assert kit.cycle().exit_code == 0
    kit.assert_current(product)


def test_item_without_checksums_is_verified_by_manifest(kit: Kit) -> None:
    def strip(item: dict[str, Any]) -> None:
        item["properties"].pop("_private", None)
        for asset in item["assets"].values():
            for name in [name for name in asset if name.startswith("file:")]:
                del asset[name]

    product = with_item(tiny(), strip)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=B02, flip_byte=3))
    assert kit.cycle().exit_code == 0
    kit.assert_same_bytes(product)
    kit.assert_current(product)


# Keys, rights and rates


def test_revoked_key_pauses_until_a_new_key(kit: Kit) -> None:
    products = [tiny(27), tiny(25)]
    kit.sandbox.publish(products)
    kit.sandbox.store.revoke_key()
    done = kit.run("sync")
    assert done.returncode == 6
    assert "InvalidAccessKeyId: the key pair is wrong or has expired; create a new one at" in (
        done.stderr
    )
    for product in products:
        assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
    kit.sandbox.store.renew_key()
    assert kit.cycle().exit_code == 0
    kit.assert_current(*products)


def test_403_on_every_request_means_wrong_key(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=403), times=None))
    with pytest.raises(CredentialError, match="may not list the bucket") as caught:
        kit.cycle()
    assert caught.value.exit_code == 6
    assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle().exit_code == 0
    kit.assert_current(product)


def test_403_on_one_object_fails_its_product_only(kit: Kit) -> None:
    barred, good = tiny(27), tiny(25)
    kit.sandbox.publish([barred, good])
    kit.sandbox.s3_proxy.inject(
        Fault(path=f"{barred.id}.*{B02}", answer=Answer(status=403), times=None)
    )
    assert kit.cycle().exit_code == 1
    assert kit.states() == {barred.id: "failed", good.id: "archived"}
    assert "the key works, but has no permission to read this object" in kit.entry(barred).reason
    kit.assert_invariants()


def test_429_and_503_only_cost_time(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    slow_down = b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>"
    kit.sandbox.s3_proxy.inject(
        Fault(path=B02, answer=Answer(status=429)),
        Fault(path="B03_10m", answer=Answer(status=429, headers={"Retry-After": "1"})),
        Fault(path="MTD_TL", answer=Answer(status=503)),
        Fault(path="MTD_MSI", answer=Answer(status=503, body=slow_down)),
    )
    assert kit.cycle().exit_code == 0
    assert len(kit.downloads()) == 10
    kit.assert_current(product)


def test_busy_store_delays_without_charging_an_attempt(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=LISTING, answer=Answer(status=429), times=None))
    assert kit.cycle().exit_code == 1
    entry = kit.entry(product)
    assert (entry.state, entry.attempts) == ("queued", 0)
    assert "answered 429" in entry.reason
    assert timedelta() < entry.next_attempt_at - datetime.now(UTC) < timedelta(hours=1)
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_current(product)


@pytest.mark.parametrize("status", [500, 503])
def test_broken_store_is_exit_3_without_attempts(kit: Kit, status: int) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=LISTING, answer=Answer(status=status), times=None))
    result = kit.cycle()
    assert result.exit_code == 3
    assert f"answered {status}" in str(result.store_error)
    assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle().exit_code == 0
    kit.assert_current(product)


@pytest.mark.parametrize("status", [500, 503])
def test_unlistable_product_waits_and_others_are_held(kit: Kit, status: int) -> None:
    bad, good = tiny(27), tiny(25)
    kit.sandbox.publish([bad, good])
    fault = Fault(path=f"{LISTING}.*{bad.id}", answer=Answer(status=status), times=None)
    kit.sandbox.s3_proxy.inject(fault)
    assert kit.cycle().remaining
    assert kit.states() == {bad.id: "queued", good.id: "archived"}
    entry = kit.entry(bad)
    assert (entry.attempts, entry.reason[-len(AGAIN) :]) == (1, AGAIN)
    assert timedelta() < entry.next_attempt_at - datetime.now(UTC) < timedelta(hours=1)
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_current(bad, good)


def test_silent_socket_is_closed_after_read_timeout(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sections["store"] = 'read_timeout = "10 s"'
    kit.sandbox.s3_proxy.inject(Fault(path=B02, silent=True))
    assert kit.cycle().exit_code == 0
    assert kit.sandbox.s3_proxy.traffic.wait_until_idle()
    silent = next(found for found in kit.downloads() if not found.status)
    assert B02 in silent.path
    assert silent.ended is not None
    assert silent.ended - silent.started < 50, "not the 60 s that are usual"
    kit.assert_current(product)


# Poison, deletion, hostility


def test_rate_limit_headers_are_respected(kit: Kit) -> None:
    """No request is sent in a window whose limit is used up."""
    products = [tiny(day) for day in (20, 21, 22)]
    kit.sandbox.publish(products)
    kit.sections["store"] = "connections = 1"  # more would send requests before the first refusal
    kit.sandbox.s3_proxy.rate_limit.requests = 12
    kit.sandbox.s3_proxy.rate_limit.window_seconds = 2
    try:
        assert kit.cycle().exit_code == 0
    finally:
        kit.sandbox.s3_proxy.rate_limit.requests = None
        kit.sandbox.s3_proxy.rate_limit.window_seconds = 60
    exchanges = kit.sandbox.s3_proxy.traffic.exchanges
    assert {found.status for found in exchanges} == {200}
    assert len(exchanges) > 12
    kit.assert_current(*products)


def test_throttled_account_repeats_no_request(kit: Kit) -> None:
    product = tiny(band_bytes=11 * MIB)
    kit.sandbox.publish(product)
    kit.sections["store"] = 'read_timeout = "10 s"\nconnections = 1'
    kit.sandbox.s3_proxy.inject(Fault(path=B02, bytes_per_second=10**6))
    assert kit.cycle().exit_code == 0
    assert len(kit.downloads()) == len(product.files), "no file was asked for twice"
    kit.assert_current(product)


def test_poisoned_product_stops_no_other(kit: Kit) -> None:
    patient = 'backoff = "23 h"\nbackoff_cap = "23 h"'
    kit.sections["download"] = f"tries_per_file = 1\nmax_attempts = 2\n{patient}"
    poison = tiny(28)
    others = [tiny(sensed_at=SENSED_AT + timedelta(minutes=n)) for n in range(99)]
    kit.sandbox.publish([poison, *others])
    kit.sandbox.s3_proxy.inject(
        Fault(path=f"{poison.id}.*{B02}", answer=Answer(status=500), times=None)
    )
    result = kit.cycle()
    assert result.remaining
    assert len(result.archived) == 99
    assert kit.entry(poison).state == "queued"
    assert kit.cycle(kit.later()).failed == [poison.id]
    assert kit.entry(poison).state == "failed"
    assert "gave up after 2 attempts; the last: reading" in kit.entry(poison).reason
    kit.assert_invariants()


def test_good_product_is_held_behind_1000_bad_ones(kit: Kit) -> None:
    made = tiny(28)
    bad = [
        named(
            made, made.id.replace("20260528T102031", f"{SENSED_AT + timedelta(seconds=n):{STAMP}}")
        )
        for n in range(1000)
    ]
    good = tiny(1)
    for product in bad:
        kit.sandbox.catalogue.put([kit.sandbox.stac.served(product.item)])
    kit.sandbox.publish(good)
    result = kit.cycle()
    assert result.remaining
    assert result.archived == [good.id]
    states = kit.states()
    assert [states[product.id] for product in bad] == ["queued"] * 1000
    assert "the catalog is ahead of the store" in kit.entry(bad[0]).reason
    assert kit.faults() == []


def named(product: SandboxProduct, name: str) -> SandboxProduct:
    """Return *product* under another name, which contains its sensing time."""
    text = json.dumps(dict(product.item)).replace(product.id, name)
    item = json.loads(text)
    moment = datetime.strptime(name[11:26], STAMP).replace(tzinfo=UTC)
    for key in ("datetime", "start_datetime", "end_datetime"):
        item["properties"][key] = moment.isoformat().replace("+00:00", "Z")
    return replace(product, id=name, item=item)


def test_product_deleted_during_download_fails_with_reason(kit: Kit) -> None:
    kit.sections["download"] = "tries_per_file = 1\nmax_attempts = 2"
    kit.sections["store"] = "connections = 1"
    kit.sections["download"] += "\nparallel_products = 1"
    gone, good = tiny(27), tiny(25)
    kit.sandbox.publish([gone, good])
    deletion = OnFirstByte(lambda: kit.sandbox.withdraw(gone.id))
    assert kit.cycle(progress=deletion).remaining
    assert "it no longer exists" in kit.entry(gone).reason
    assert kit.cycle(kit.later()).exit_code == 1
    assert kit.states() == {gone.id: "failed", good.id: "archived"}
    assert "gave up after 2 attempts" in kit.entry(gone).reason
    asked = len(kit.sandbox.s3_proxy.traffic.exchanges)
    kit.cycle(kit.later(days=30))
    assert len(kit.sandbox.s3_proxy.traffic.exchanges) == asked, "no storm of retries"
    assert list((kit.archive / ".s2mirror/staging").iterdir()) == []
    kit.assert_invariants()


def listing_of(product: SandboxProduct, more: str) -> Answer:
    """Return the store's listing of *product* with *more* entries, as XML."""
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
        f'<ETag>"{n:032x}"</ETag></Contents>'
        for n, (key, content) in enumerate(product.keys.items())
    )
    body = (
        '<?xml version="1.0"?><ListBucketResult><Name>eodata</Name>'
        "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
        f"{entries}{more}</ListBucketResult>"
    )
    return Answer(status=200, headers={"Content-Type": "application/xml"}, body=body.encode())


def entry_of(key: str, *, size: str = "3", etag: str = "<ETag>&quot;00&quot;</ETag>") -> str:
    return f"<Contents><Key>{key}</Key><Size>{size}</Size>{etag}</Contents>"


HOSTILE = {
    "parent": entry_of("{prefix}../../../../evil"),
    "absolute": entry_of("{prefix}/etc/evil"),
    "NUL": entry_of("{prefix}evil%00.xml"),
    "newline": entry_of("{prefix}evil%0Aname"),
    "backslash": entry_of("{prefix}evil%5C..%5Cname"),
    "component of 300 characters": entry_of("{prefix}" + "e" * 300),
    "path of 5000 characters": entry_of("{prefix}" + "/".join(["evil"] * 1000)),
    "10 GB": entry_of("{prefix}evil.jp2", size="10000000000"),
    "negative size": entry_of("{prefix}evil.jp2", size="-5"),
    "another product": entry_of("Sentinel-2/another/evil.xml"),
    "file as folder": entry_of("{prefix}manifest.safe/evil"),
    "folder as file": entry_of("{prefix}manifest.safe/", size="0"),
    "twice": entry_of("{prefix}MTD_MSIL2A.xml", size="168"),
    "6000 files": "".join(entry_of(f"{{prefix}}evil/{n}") for n in range(6000)),
    "6000 folders": "".join(entry_of(f"{{prefix}}evil/{n}/", size="0") for n in range(6000)),
}


def test_hostile_keys_are_refused_before_any_download(kit: Kit) -> None:
    kit.sections["download"] = "max_attempts = 1"
    good = tiny(28)
    bad = {name: tiny(day) for day, name in enumerate(HOSTILE, 1)}
    kit.sandbox.publish([good, *bad.values()])
    for name, product in bad.items():
        listing = listing_of(product, HOSTILE[name].replace("{prefix}", product.prefix))
        at = f"{LISTING}.*{product.id}"
        kit.sandbox.s3_proxy.inject(Fault(path=at, answer=listing, times=None))
    assert kit.cycle().exit_code == 1
    for name, product in bad.items():
        entry = kit.entry(product)
        assert entry.state == "quarantined", name
        assert entry.reason.endswith(("Nothing was downloaded", "nothing was written")), name
    assert kit.states()[good.id] == "archived"
    assert [key for key in kit.downloaded() if good.id not in key] == []
    assert list(kit.folder.rglob("*evil*")) == []
    kit.assert_invariants()


SENSELESS = {
    "size in words": entry_of("{prefix}evil", size="many"),
    "no ETag": entry_of("{prefix}evil", etag=""),
    "no key": "<Contents><Size>3</Size></Contents>",
    "NUL in XML": "<Contents><Key>{prefix}evil&#0;</Key></Contents>",
    "broken XML": "</Contents>",
}


def test_senseless_listing_is_tried_again(kit: Kit) -> None:
    good = tiny(28)
    bad = {name: tiny(day) for day, name in enumerate(SENSELESS, 1)}
    kit.sandbox.publish([good, *bad.values()])
    for name, product in bad.items():
        listing = listing_of(product, SENSELESS[name].replace("{prefix}", product.prefix))
        kit.sandbox.s3_proxy.inject(Fault(path=f"{LISTING}.*{product.id}", answer=listing))
    assert kit.cycle().remaining
    for name, product in bad.items():
        assert kit.entry(product).state == "queued", name
        assert kit.entry(product).reason.endswith("will be tried again"), name
    assert kit.states()[good.id] == "archived"
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_current(good, *bad.values())


BAD_MANIFESTS = {
    "html": b"<html>no manifest</html>",
    "text": b"not XML",
    "entities": b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
    "outside": (
        b"<x><dataObjectSection><dataObject><byteStream size='1'>"
        b"<fileLocation href='../../evil'/><checksum checksumName='MD5'>00</checksum>"
        b"</byteStream></dataObject></dataObjectSection></x>"
    ),
}


def test_hostile_manifest_quarantines_its_product(kit: Kit) -> None:
    kit.sections["download"] = "max_attempts = 1"
    good = tiny(28)
    bad = {name: tiny(day) for day, name in enumerate(BAD_MANIFESTS, 1)}
    kit.sandbox.publish(good)
    for name, product in bad.items():
        kit.sandbox.publish(ruined(product, "manifest.safe", BAD_MANIFESTS[name]))
    assert kit.cycle().exit_code == 1
    for name, product in bad.items():
        assert kit.entry(product).state == "quarantined", name
        assert kit.entry(product).reason, name
    assert kit.states()[good.id] == "archived"
    assert kit.downloaded("jp2") == [key for key in kit.downloaded("jp2") if good.id in key]
    assert list(kit.folder.rglob("evil")) == []
    kit.assert_invariants()


# Stopping, sharing, disk


def test_stopped_download_resumes_at_its_last_byte(kit: Kit) -> None:
    product = tiny(band_bytes=2 * MIB)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path="_10m.jp2", bytes_per_second=4 * MIB, times=2))
    stop = StopFlag()
    with pytest.raises(Stopped):
        kit.cycle(stop=stop, progress=OnFirstByteOf(product, stop))
    entry = kit.entry(product)
    assert (entry.state, entry.attempts) == ("queued", 0)
    parts = kit.archive / f".s2mirror/staging/{product.id}.part"
    sizes = {p.name: p.stat().st_size for p in parts.rglob("*.jp2") if p.stat().st_size}
    assert sizes
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle().exit_code == 0
    asked = {Path(found.path.partition("?")[0]).name: found.range for found in kit.downloads()}
    assert {name: asked[name] for name in sizes} == {n: f"bytes={s}-" for n, s in sizes.items()}
    assert "manifest.safe" not in asked
    kit.assert_same_bytes(product)
    kit.assert_current(product)


class OnFirstByteOf(OnFirstByte):
    """Sets a flag once a good part of a band has arrived."""

    def __init__(self, product: SandboxProduct, stop: StopFlag) -> None:
        super().__init__(stop.set)
        self._left_bytes = len(product.files["manifest.safe"]) + MIB
        self._lock = Lock()

    def received(self, product_id: str, size_bytes: int) -> None:
        with self._lock:
            self._left_bytes -= size_bytes
            if self._left_bytes < 0:
                super().received(product_id, size_bytes)


def test_overlapping_areas_share_one_copy(kit: Kit) -> None:
    product = tiny()
    kit.areas += kit.areas.replace('"zurich"', '"around"').replace("8.45, 47.2", "8.3, 47.1")
    kit.sandbox.publish(product)
    assert kit.cycle().archived == [product.id]
    assert kit.entry(product).areas == ("around", "zurich")
    assert len(kit.downloads()) == len(product.files)
    kit.assert_current(product)


def test_product_larger_than_the_disk_is_deferred(
    kit: Kit,
) -> None:
    large, small = claiming(tiny(27), 10**15), tiny(25)
    kit.sandbox.publish([large, small])
    result = kit.cycle()
    assert result.exit_code == 1
    assert result.archived == [small.id]
    assert result.downloads is not None
    assert result.downloads.deferred[large.id].startswith(f"needs {10**15} B of disk, ")
    assert kit.states() == {large.id: "discovered", small.id: "archived"}
    kit.assert_invariants()


def test_missing_archive_id_stops_every_change(kit: Kit) -> None:
    product = tiny(27)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.sandbox.publish(tiny(25))
    id_file = kit.archive / ".s2mirror/archive.json"
    content = id_file.read_bytes()
    id_file.unlink()
    before = sorted(kit.archive.rglob("*"))
    for command in (["sync"], ["prune", "--yes"]):
        done = kit.run(*command)
        assert done.returncode == 5
        assert "is its disk mounted? Nothing is written or removed" in done.stderr
    assert sorted(kit.archive.rglob("*")) == before
    id_file.write_bytes(content)
    assert kit.cycle().exit_code == 0
    kit.assert_current(product, tiny(25))


def test_empty_folder_is_not_taken_for_archive(kit: Kit) -> None:
    product = tiny(27)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.archive.rename(kit.folder / "unmounted")
    kit.archive.mkdir()
    assert kit.run("sync").returncode == 5
    assert list(kit.archive.iterdir()) == []
    kit.archive.rmdir()
    (kit.folder / "unmounted").rename(kit.archive)
    kit.assert_current(product)


def test_second_mirror_on_a_ledger_is_refused(kit: Kit) -> None:
    product = tiny(band_bytes=MIB)
    kit.sandbox.publish(product)
    kit.sections["store"] = 'read_timeout = "1 h"'
    kit.sandbox.s3_proxy.inject(Fault(path=B02, silent=True))
    first = kit.start("sync")
    try:
        while not kit.downloaded(B02):
            assert first.poll() is None
            time.sleep(0.05)
        second = kit.run("sync")
        assert second.returncode == 4
        assert str(first.pid) in second.stderr
    finally:
        first.kill()
        first.communicate()
    assert kit.cycle().exit_code == 0, "a killed holder's lock is free at once"
    kit.assert_current(product)
