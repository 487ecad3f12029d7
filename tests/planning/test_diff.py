import pytest
from builders import product
from planning_builders import area
from shapely.geometry import box

from s2mirror.planning.scope import Scope, diff_page

AREAS = Scope([area("alps"), area("far", geometry=box(100, 0, 101, 1)), area("rhine")])


def test_only_products_unknown_to_the_ledger_are_new() -> None:
    known, new = product("known"), product("new")
    found = diff_page([known, new], {"known": ""}, AREAS)
    assert found.new == (new,)


def test_known_product_joins_every_area_wanting_it() -> None:
    found = diff_page([product("known")], {"known": ""}, AREAS)
    assert found.new == ()
    assert found.areas == {"known": ("alps", "rhine")}


def test_unwanted_products_are_omitted() -> None:
    elsewhere = product("x", collection="sentinel-2-l3")
    found = diff_page([elsewhere], {}, AREAS)
    assert (found.new, found.areas) == ((), {})


def test_product_listed_twice_is_new_once() -> None:
    assert len(diff_page([product("x"), product("x")], {}, AREAS).new) == 1


def test_other_bytes_of_known_product_are_revision() -> None:
    again = product("known", revision="d50120bb")
    found = diff_page([again], {"known": "d50120aa"}, AREAS)
    assert (found.new, found.revised) == ((), (again,))


@pytest.mark.parametrize(("before", "now"), [("aa", "aa"), ("", "aa"), ("aa", "")])
def test_possibly_equal_bytes_are_no_revision(before: str, now: str) -> None:
    assert diff_page([product("known", revision=now)], {"known": before}, AREAS).revised == ()


def test_unwanted_revision_is_omitted() -> None:
    again = product("known", revision="bb", collection="sentinel-2-l3")
    assert diff_page([again], {"known": "aa"}, AREAS).revised == ()


def test_empty_page_adds_nothing() -> None:
    assert diff_page([], {"x": ""}, AREAS).new == ()
