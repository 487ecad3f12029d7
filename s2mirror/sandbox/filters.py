"""CQL2 filters over items, evaluated by the ``cql2`` library."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cql2

_TIME_PROPERTIES: Final = frozenset(
    (
        *("datetime", "start_datetime", "end_datetime", "processing:datetime"),
        *("created", "updated", "published", "expires"),
    )
)
_OPERATORS: Final = frozenset(
    (
        *("and", "or", "not", "=", "<>", "<", ">", "<=", ">=", "isNull"),
        *("like", "between", "in", "casei", "s_intersects"),
        *("t_after", "t_before", "t_during", "t_intersects", "+", "-"),
    )
)


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter and the names of the properties that it reads."""

    expression: cql2.Expr
    properties: frozenset[str]

    def matches(self, item: Mapping[str, Any]) -> bool:
        """Return whether *item* matches; a missing property never matches, as NULL in SQL."""
        seen = {name: item["properties"].get(name) for name in self.properties}
        known = {name: _spelled(name, value) for name, value in seen.items() if value is not None}
        # The library copies the item for each evaluation, so it gets only the parts that it needs.
        small: dict[str, Any] = {
            "type": "Feature",
            "id": item["id"],
            "collection": item["collection"],
        }
        if "geometry" in self.properties:
            small["geometry"] = item["geometry"]
        try:
            return bool(self.expression.matches({**small, "properties": known}))
        except Exception as error:  # the library raises bare Exception
            if "reduce" in str(error):
                return False
            raise


def parse_filter(value: object, language: str) -> Filter:
    """Return a filter from CQL2 JSON (object or text) or, for ``cql2-text``, from text.

    Raises ValueError for invalid CQL2 and for operators that no STAC API knows.
    """
    try:
        if language == "cql2-text":
            tree: Any = cql2.parse_text(str(value)).to_json()
        else:
            tree = json.loads(value) if isinstance(value, str) else value
        expression = cql2.parse_json(json.dumps(_with_instants(tree)))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"invalid CQL2: {error}") from error
    unknown = {node["op"] for node in _nodes(tree) if "op" in node} - _OPERATORS
    if unknown:
        raise ValueError(f"unknown CQL2 operator {', '.join(sorted(map(str, unknown)))}")
    return Filter(expression, frozenset(_names(tree)))


def _spelled(name: str, value: object) -> object:
    """Return a time as the library reads it: with a capital Z, unlike some items."""
    return value.upper() if name in _TIME_PROPERTIES and isinstance(value, str) else value


def _nodes(tree: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for inner in tree.values():
            yield from _nodes(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from _nodes(inner)


def _names(tree: object) -> Iterator[str]:
    for node in _nodes(tree):
        if isinstance(node.get("property"), str):
            yield node["property"].removeprefix("properties.")


def _with_instants(tree: object) -> object:
    """Mark text next to a time property as an instant, as pgstac does from the queryables.

    Compared as text, ``…:00.5Z`` would sort before ``…:00Z``.
    """
    if isinstance(tree, list):
        return [_with_instants(inner) for inner in tree]
    if not isinstance(tree, dict):
        return tree
    inner = {key: _with_instants(value) for key, value in tree.items()}
    args = inner.get("args")
    if isinstance(args, list) and any(_is_time(arg) for arg in args):
        inner["args"] = [{"timestamp": arg} if isinstance(arg, str) else arg for arg in args]
    return inner


def _is_time(node: object) -> bool:
    return (
        isinstance(node, dict) and _TIME_PROPERTIES.issuperset(_names(node)) and "property" in node
    )
