import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.json_parser import MAX_DEPTH, MAX_VALUES, parse_json, parse_object

SENSIBLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(max_examples=25)
@given(SENSIBLE)
def test_sensible_document_is_read_as_it_is(value: Any) -> None:  # noqa: ANN401 - any JSON
    text = json.dumps(value)
    assert parse_json(text) == json.loads(text.encode())
    assert parse_json(text.encode("utf-8-sig")) == json.loads(text)


@given(st.binary() | st.text(st.sampled_from('[]{}",:0123456789eE-+.\\uDdNaInfinity \0')))
def test_any_text_is_parsed_or_a_value_error(document: str | bytes) -> None:
    try:
        value = parse_json(document)
    except ValueError:
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[NaN, Infinity, -Infinity, 1e999, -1e999]", [None] * 5),
        (f"[{'9' * 18}, {'9' * 19}, {'9' * 5000}]", [10**18 - 1, None, None]),
        (r'["\ud800", "\udc00\ud800", "\ud83d\ude00"]', ["?", "??", "\U0001f600"]),
        (r'{"\ud800": {"a": "\ud800"}}', {"?": {"a": "?"}}),
    ],
)
def test_value_that_nobody_can_store_is_replaced(text: str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 100_000])
def test_deep_document_is_refused(opening: str, depth: int) -> None:
    closing = {"[": "]", '{"a":': "}", '[{"a":': "}]"}[opening]
    with pytest.raises(ValueError, match="it is nested deeper than 64 levels"):
        parse_json(opening * depth + "1" + closing * depth)


def test_depth_of_the_limit_is_read() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize("unit", ["[],", "{},", "1,"])
def test_document_of_too_many_values_is_refused(unit: str) -> None:
    with pytest.raises(ValueError, match="it has more than 300000 values"):
        parse_json(f"[{unit * MAX_VALUES}1]")


@pytest.mark.parametrize("text", ["[]", "null", "7", '"text"'])
def test_object_is_required_where_one_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is a JSON \w+, not an object"):
        parse_object(text)
    assert parse_object('{"a": 1}') == {"a": 1}
