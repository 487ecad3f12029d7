import pytest
from core_builders import NAME, product
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.errors import HostileInput
from s2mirror.layout import FIELDS, check_template, product_path


@pytest.mark.parametrize(
    ("preset", "path"),
    [
        ("cdse", f"Sentinel-2/MSI/L2A/2026/05/27/{NAME}.SAFE"),
        ("tile", f"T32TMT/2026/05/27/{NAME}.SAFE"),
        ("force", f"T32TMT/{NAME}.SAFE"),
    ],
)
def test_presets_build_the_documented_paths(preset: str, path: str) -> None:
    assert product_path(check_template(preset), product()) == path


def test_a_template_may_use_every_field() -> None:
    template = check_template(
        "{platform}/{level}/{baseline}/{orbit}/{year}{month}{day}/{name}.SAFE"
    )
    assert product_path(template, product()) == (f"sentinel-2c/L2A/N0512/R065/20260527/{NAME}.SAFE")
    for field in FIELDS - {"name", "s3_prefix"}:
        assert product_path(check_template(f"{{{field}}}/{{name}}.SAFE"), product())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{title}/{name}.SAFE", "unknown {title}; known are "),
        ("{name.SAFE", "a '{' or '}' has no partner"),
        ("}{{name}.SAFE", "a '{' or '}' has no partner"),
        ("T{tile}/{name}", "must be cdse, tile, force, or a template ending in {name}.SAFE"),
        ("T{tile}", "must be cdse, tile, force, or a template ending in {name}.SAFE"),
        ("{name}.SAFE/x", "must be cdse, tile, force, or a template ending in {name}.SAFE"),
    ],
)
def test_a_template_that_fits_no_product_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^") as caught:
        check_template(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("template", ["/{name}.SAFE", "../{name}.SAFE", "a/{tile}/../{name}.SAFE"])
def test_a_product_is_never_put_outside_the_archive(template: str) -> None:
    with pytest.raises(HostileInput, match="would leave the product folder"):
        product_path(template, product())


@given(st.lists(st.sampled_from(["..", ".", "/", "a", "\\", "\x00", ".SAFE"])).map("".join))
def test_no_prefix_leaves_the_archive(prefix: str) -> None:
    try:
        path = product_path(check_template("cdse"), product(s3_prefix=prefix))
    except HostileInput:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")


def test_braces_in_product_values_are_kept() -> None:
    named = product(s3_prefix=f"{{tile}}/{NAME}.SAFE/")
    assert product_path(check_template("cdse"), named) == f"{{tile}}/{NAME}.SAFE"


def test_no_product_path_is_hidden() -> None:
    hostile = product(s3_prefix=f".s2mirror/staging/{NAME}.SAFE/")
    with pytest.raises(HostileInput, match="hidden folder"):
        product_path(check_template("cdse"), hostile)
