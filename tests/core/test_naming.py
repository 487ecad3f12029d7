import re
import shlex
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from core_builders import NAME
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.errors import HostileInput
from s2mirror.naming import (
    baseline_number,
    check_product_id,
    check_relative_path,
    check_remote_path,
    parse_name,
)

SECONDS = st.datetimes(datetime(2015, 6, 23), datetime(2099, 1, 1)).map(  # noqa: DTZ001 - hypothesis wants naive bounds
    lambda found: found.replace(microsecond=0, tzinfo=UTC)
)
HOSTILE_PATHS = [
    "",
    ".",
    "./",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "/etc/passwd",
    ".//etc/passwd",
    "a//b",
    "a/",
    "a/./b",
    "..\\x",
    "C:\\x",
    "a\x00b",
    "a\nb",
    "a\x1b[2Jb",
    "a\u202eb",
    "a\ud800b",
    "x" * 241,
    "é" * 121,
    "/".join("x" * 200 for _ in range(6)),
]
SHELL_PATHS = [f"a{sign}b" for sign in "$`;|&<>'\"*?[]{}()!#~=%:,+@^ \t\né"] + [
    "a\n",
    "~a",
    "$(id)",
]
HOSTILE_IDS = [
    "",
    ".",
    "..",
    "a..b",
    ".hidden",
    "-rf",
    "a/b",
    "a\\b",
    "a b",
    "a\x00",
    "é",
    "x" * 121,
]


@given(
    unit=st.sampled_from("ABCD"),
    level=st.sampled_from(["L1C", "L2A"]),
    sensed_at=SECONDS,
    baseline=st.integers(0, 9999),
    orbit=st.integers(1, 143),
    tile=st.from_regex(re.compile(r"[0-6][0-9][C-X][A-Z][A-V]", re.ASCII), fullmatch=True),
    made_at=SECONDS,
    suffix=st.sampled_from(["", ".SAFE"]),
)
def test_a_name_is_read_as_it_was_made(  # noqa: PLR0913 - a name has that many parts
    *,
    unit: str,
    level: str,
    sensed_at: datetime,
    baseline: int,
    orbit: int,
    tile: str,
    made_at: datetime,
    suffix: str,
) -> None:
    name = parse_name(
        f"S2{unit}_MSI{level}_{sensed_at:%Y%m%dT%H%M%S}_N{baseline:04d}_R{orbit:03d}_T{tile}"
        f"_{made_at:%Y%m%dT%H%M%S}{suffix}"
    )
    assert name is not None
    assert name.platform == f"sentinel-2{unit.lower()}"
    assert (name.level, name.tile, name.relative_orbit) == (level, tile, orbit)
    assert (name.sensed_at, name.discriminator) == (sensed_at, made_at)
    assert baseline_number(name.baseline) == baseline


@pytest.mark.parametrize(
    "text",
    [
        "S2A_OPER_PRD_MSIL1C_PDMC_20160101T012345_R065_V20160101T102031_20160101T102031",
        NAME.replace("T32TMT", "T32TM"),
        NAME + "x",
        NAME.replace("20260527T102031", "20261327T102031"),
        NAME.replace("20260527T154217", "20260230T154217"),
    ],
    ids=["long form", "short tile", "longer", "month 13", "30 February"],
)
def test_what_is_no_compact_name_says_nothing(text: str) -> None:
    assert parse_name(text) is None


def test_baselines_sort_as_numbers() -> None:
    assert baseline_number("05.12") == 512
    assert baseline_number("05.9") < baseline_number("05.10") < baseline_number("10.00")
    assert baseline_number("05") == 500


@pytest.mark.parametrize("text", HOSTILE_PATHS)
def test_path_outside_a_safe_is_refused(text: str) -> None:
    with pytest.raises(HostileInput) as caught:
        check_relative_path(text)
    assert str(caught.value) == (
        f"path {text[:300]!r} would leave the product folder or cannot be a file name; "
        "nothing was written"
    )


@pytest.mark.parametrize("text", HOSTILE_PATHS)
def test_remote_path_outside_a_safe_is_refused(text: str) -> None:
    with pytest.raises(HostileInput):
        check_remote_path(text)


@pytest.mark.parametrize("text", SHELL_PATHS)
def test_remote_path_with_odd_characters_is_refused(text: str) -> None:
    with pytest.raises(HostileInput) as caught:
        check_remote_path(f"Sentinel-2/{text}")
    assert str(caught.value) == (
        f"path {f'Sentinel-2/{text}'!r} is not made of letters, digits, '.', '_', '-' and '/' "
        "alone; nothing was written"
    )


@pytest.mark.parametrize("text", HOSTILE_IDS)
def test_product_id_must_be_a_folder_name(text: str) -> None:
    with pytest.raises(HostileInput, match="nothing was downloaded"):
        check_product_id(text)


def test_honest_ids_and_paths_pass_unchanged() -> None:
    assert check_product_id(NAME) == NAME
    assert check_remote_path("./GRANULE/L2A_T32TMT/IMG_DATA/R10m/x_B02_10m.jp2") == (
        "GRANULE/L2A_T32TMT/IMG_DATA/R10m/x_B02_10m.jp2"
    )
    assert check_relative_path("HTML/star bg.jpg") == "HTML/star bg.jpg"


_PIECES = st.sampled_from(["..", ".", "/", "\\", "a", "\x00", "~", " ", "%2e", "é", ".SAFE", "\n"])


@given(st.one_of(st.text(), st.lists(_PIECES).map("".join)))
def test_no_path_that_is_accepted_leaves_its_folder(text: str) -> None:
    try:
        path = PurePosixPath(check_relative_path(text))
    except HostileInput:
        return
    assert not path.is_absolute()
    assert path.parts
    assert not {"..", "."}.intersection(path.parts)
    assert all(len(part.encode()) <= 240 for part in path.parts)
    assert check_relative_path(str(path)) == str(path)


@given(st.one_of(st.text(), st.lists(_PIECES).map("".join), st.text("a./$;` ", max_size=8)))
def test_accepted_remote_path_means_nothing_to_a_shell(text: str) -> None:
    try:
        path = check_remote_path(text)
    except HostileInput:
        return
    assert shlex.quote(path) == path
    assert path == check_relative_path(text)


@given(st.one_of(st.text(), st.lists(_PIECES).map("".join), st.text("ab._-", max_size=125)))
def test_accepted_product_id_is_one_folder(text: str) -> None:
    try:
        name = check_product_id(text)
    except HostileInput:
        return
    assert PurePosixPath(name).parts == (name,)
    assert name == check_relative_path(name)
    assert name.isascii()
