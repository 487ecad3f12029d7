import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.sandbox import ProductSpec
from s2mirror.sandbox.layout import Paths, loose_members, manifest_members
from s2mirror.selection import (
    BANDS,
    RESOLUTIONS,
    WHOLE,
    Choice,
    Selection,
    chosen,
    from_text,
    to_text,
)


def safe(level: str = "L2A") -> frozenset[str]:
    """Return the paths of a product in the store."""
    spec = ProductSpec(level=level)
    members = [*manifest_members(level, Paths.of(spec)), *loose_members(level, spec.id)]
    return frozenset({"manifest.safe", *(member.path for member in members)})


def old_safe() -> frozenset[str]:
    """Return some paths of a product of 2021: masks in GML, B01 only at 60 m."""
    granule = "GRANULE/L2A_T22HBD_A020270_20210122T134222"
    image = f"{granule}/IMG_DATA/R{{0}}/T22HBD_20210122T134209_{{1}}_{{0}}.jp2"
    return frozenset(
        [
            *("manifest.safe", "MTD_MSIL2A.xml", "INSPIRE.xml", f"{granule}/MTD_TL.xml"),
            "S2B_MSIL2A_20210122T134209_N0214_R124_T22HBD_20210122T160121-ql.jpg",
            *(image.format("60m", band) for band in ("B01", "B02", "B09", "SCL")),
            *(image.format("20m", band) for band in ("B02", "B05", "SCL")),
            image.format("10m", "B02"),
            *(f"{granule}/QI_DATA/MSK_DEFECT_{band}.gml" for band in ("B01", "B02", "B05")),
            f"{granule}/QI_DATA/MSK_CLOUDS_B00.gml",
        ]
    )


L1C, L2A, OLD = safe("L1C"), safe(), old_safe()


def images(paths: Iterable[str]) -> list[str]:
    """Return the ends of the image paths: band, and resolution if given."""
    found = (path for path in paths if "IMG_DATA" in path or "PRB_" in path)
    return sorted(re.sub(r".*_([A-Z0-9]{3}(PRB)?(_\d\dm)?)\.jp2", r"\1", path) for path in found)


def test_without_a_choice_everything_is_wanted() -> None:
    assert WHOLE.paths(L2A) == L2A
    assert chosen() == WHOLE
    assert chosen().whole


def test_a_band_comes_in_its_finest_resolution() -> None:
    found = chosen(bands=["B02", "B05", "B09", "SCL"]).paths(L2A)
    assert images(found) == ["B02_10m", "B05_20m", "B09_60m", "SCL_20m"]


def test_the_finest_resolution_is_what_the_product_has() -> None:
    assert images(chosen(bands=["B01"]).paths(L2A)) == ["B01_20m"]
    assert images(chosen(bands=["B01"]).paths(OLD)) == ["B01_60m"]


def test_bands_and_resolutions_narrow_each_other() -> None:
    found = chosen(bands=["B02", "B09"], resolutions=["20m", "60m"]).paths(L2A)
    assert images(found) == ["B02_20m", "B02_60m", "B09_60m"]


def test_a_resolution_alone_is_every_image_of_it() -> None:
    assert images(chosen(resolutions=["10m"]).paths(L2A)) == [
        *("AOT_10m", "B02_10m", "B03_10m", "B04_10m", "B08_10m", "TCI_10m", "WVP_10m"),
    ]  # fmt: skip


def test_level_1c_bands_have_instrument_resolution() -> None:
    assert images(chosen(resolutions=["60m"]).paths(L1C)) == ["B01", "B09", "B10"]
    assert images(chosen(resolutions=["10m"]).paths(L1C)) == ["B02", "B03", "B04", "B08", "TCI"]
    assert images(chosen(bands=["B11", "B8A"]).paths(L1C)) == ["B11", "B8A"]


def test_cloud_and_snow_probabilities_are_bands_too() -> None:
    assert images(chosen(bands=["CLD"]).paths(L2A)) == ["CLDPRB_20m"]
    assert images(chosen(bands=["CLD", "SNW"], resolutions=["60m"]).paths(L2A)) == [
        "CLDPRB_60m",
        "SNWPRB_60m",
    ]


@pytest.mark.parametrize("paths", [L1C, L2A, OLD], ids=["L1C", "L2A", "old"])
@pytest.mark.parametrize("selection", [chosen(bands=["B02"]), chosen(files=["no/such"])])
def test_metadata_manifest_and_quicklook_always_come_along(
    paths: frozenset[str], selection: Selection
) -> None:
    found = selection.paths(paths)
    assert {"manifest.safe", "INSPIRE.xml"} <= found
    assert {p for p in paths if "MTD_" in p or "DATASTRIP" in p or "AUX_DATA" in p} <= found
    assert any(path.endswith("-ql.jpg") for path in found)
    assert not any(path.startswith(("HTML", "rep_info")) for path in found)


def test_band_selects_its_own_masks_only() -> None:
    masks = {p for p in chosen(bands=["B02"]).paths(L2A) if "MSK_" in p}
    assert {path.rpartition("/")[2] for path in masks} == {
        "MSK_CLASSI_B00.jp2",
        "MSK_DETFOO_B02.jp2",
        "MSK_QUALIT_B02.jp2",
    }
    masks = {p for p in chosen(bands=["B05"]).paths(OLD) if "MSK_" in p}
    assert {path.rpartition("/")[2] for path in masks} == {
        "MSK_CLOUDS_B00.gml",
        "MSK_DEFECT_B05.gml",
    }


def test_patterns_add_files_and_their_stars_fit_slashes() -> None:
    found = chosen(bands=["B02"], files=["*_PVI.jp2", "HTML/*"]).paths(L2A)
    assert images(found) == ["B02_10m"]
    assert any(path.endswith("_PVI.jp2") for path in found)
    assert {p for p in L2A if p.startswith("HTML/")} <= found
    assert images(chosen(files=["*_PVI.jp2"]).paths(L2A)) == []


def test_two_areas_get_what_either_wants() -> None:
    both = chosen(bands=["B02"]) | chosen(bands=["B02"], resolutions=["60m"])
    assert images(both.paths(L2A)) == ["B02_10m", "B02_60m"]
    assert (chosen(bands=["B02"]) | WHOLE).whole


def test_a_selection_is_told_in_words() -> None:
    assert str(WHOLE) == "everything"
    some = chosen(bands=["SCL", "B02"], resolutions=["20m"], files=["*_PVI.jp2"])
    assert str(some) == "B02, SCL at 20m; *_PVI.jp2"
    assert str(some | chosen(resolutions=["60m"])) == "at 60m | B02, SCL at 20m; *_PVI.jp2"


PATTERNS = st.sampled_from(["*", "*_PVI.jp2", "GRANULE/*/QI_DATA/*", "HTML/*", "no/such"])
CHOSEN = st.builds(
    chosen,
    bands=st.lists(st.sampled_from(BANDS), max_size=4),
    resolutions=st.lists(st.sampled_from(RESOLUTIONS), max_size=2),
    files=st.lists(PATTERNS, max_size=2),
)
SELECTIONS = st.builds(lambda a, b: a | b, CHOSEN, CHOSEN)
PRODUCTS = st.sampled_from([L1C, L2A, OLD])


@given(SELECTIONS, PRODUCTS)
def test_selecting_twice_changes_nothing(selection: Selection, paths: frozenset[str]) -> None:
    found = selection.paths(paths)
    assert found <= paths
    assert selection.paths(found) == found


@pytest.mark.long
@given(SELECTIONS, PRODUCTS, st.randoms())
def test_manifest_selection_equals_listing_selection(
    selection: Selection, paths: frozenset[str], jitter: "object"
) -> None:
    """The store may list more files than the manifest; the selections must agree."""
    promised = {path for path in paths if jitter.random() < 0.7}  # type: ignore[attr-defined]
    fetched = selection.paths(paths)
    assert selection.paths(promised | fetched) == fetched


@given(SELECTIONS, SELECTIONS, PRODUCTS)
def test_union_selects_what_either_selects(
    one: Selection, other: Selection, paths: frozenset[str]
) -> None:
    assert (one | other).paths(paths) == one.paths(paths) | other.paths(paths)


@given(SELECTIONS, SELECTIONS, PRODUCTS)
def test_covering_selection_includes_the_other(
    one: Selection, other: Selection, paths: frozenset[str]
) -> None:
    if one.covers(other):
        assert one.paths(paths) >= other.paths(paths)
    assert (one | other).covers(one)
    assert WHOLE.covers(one)


@given(SELECTIONS)
def test_a_selection_comes_back_from_its_text(selection: Selection) -> None:
    back = from_text(to_text(selection))
    assert to_text(back) == to_text(selection)
    assert back.whole == selection.whole
    assert back == selection or selection.whole


def test_a_choice_of_nothing_is_everything() -> None:
    assert Choice().everything
    assert Selection(frozenset({Choice(), Choice(bands=("B02",))})).whole
