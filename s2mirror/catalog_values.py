"""What STAC items and OData records have in common: pages of products, and checks of values.

Every value comes from outside, and one odd entry rejects itself only.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from s2mirror.clean_text import storable_text
from s2mirror.errors import HostileInput, ItemRejected, ItemSkipped
from s2mirror.model import Page, Product, Rejected

MAX_TEXT: Final = 200
"""Datatake, datastrip and checksum of CDSE have at most 81 characters."""
_MAX_NUMBER: Final = 10**15
"""A larger size or count is a mistake, and the ledger's integers end at 9 * 10**18."""
_MAX_ID_SHOWN: Final = 120
_MAX_REASON_SHOWN: Final = 500

Json = Mapping[str, Any]
Parse = Callable[[Any], tuple[Product, Json]]


def page_of(
    entries: Iterable[Any], parse: Parse, shown_id: Callable[[object], str], collection: str
) -> Page:
    """Return the products of a page's entries, and the unusable entries with reasons.

    *parse* returns the product of an entry and its STAC properties, or raises ItemRejected.
    """
    products, rejected, properties = [], [], {}
    for entry in entries:
        try:
            product, found = parse(entry)
        except ItemRejected as error:
            rejected.append(
                Rejected(
                    id=shown_id(entry),
                    collection=collection,
                    reason=storable_text(error, _MAX_REASON_SHOWN),
                    skipped=isinstance(error, ItemSkipped),
                )
            )
        else:
            products.append(product)
            properties[product.id] = found
    return Page(products=tuple(products), rejected=tuple(rejected), properties=properties)


@contextmanager
def malformed_rejected() -> Iterator[None]:
    """Raise ItemRejected, with the reason, for every error that odd values of an entry cause."""
    try:
        yield
    except HostileInput as error:
        raise ItemRejected(str(error)) from error
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise ItemRejected(f"it is malformed: {error}") from error


def shown_text(value: object) -> str:
    """Return an id from outside as a short text that can be shown and stored."""
    return storable_text(value or "(no id)", _MAX_ID_SHOWN)


def number(value: object) -> float | None:
    """Return a number as a float; None for what is no number, and for one that is too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _MAX_NUMBER else None


def size_bytes(value: object) -> int | None:
    """Return a size; None for 0, which old records have, and for what is no size."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= _MAX_NUMBER else None
