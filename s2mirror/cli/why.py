"""``why``: why a product is here, or is not, and what would bring it."""

from typing import Annotated

import typer

from s2mirror.cli.context import ConfigOption, JsonOption, complete_product
from s2mirror.cli.mirrors import planning_mirror
from s2mirror.cli.output import format_time, print_error, print_json, print_line
from s2mirror.lifecycle import HELD
from s2mirror.model import PINNED
from s2mirror.service.explaining import Explanation, explain


def why(
    product_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Product id, with or without .SAFE, or its path; the ledger need not know it.",
            autocompletion=complete_product,
        ),
    ],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Explain why a product is here or not, by every rule.

    It prints one line per area. A product that the ledger does not know is looked up in the STAC
    catalog, then in OData. No key is needed. The exit code is not 0 if a catalog did not answer
    and no other one lists the product.
    """
    with planning_mirror(config) as mirror:
        found = explain(mirror, product_id)
    if as_json:
        print_json(_values(found))
    else:
        _print(found)
    return found.exit_code


def _values(found: Explanation) -> dict[str, object]:
    entry = found.entry
    return {
        "id": found.id,
        "state": entry.state if entry else None,
        "reason": entry.reason if entry else "",
        "pinned": entry is not None and PINNED in entry.areas,
        "kept": found.kept,
        "removal": found.removal,
        "catalogs": found.catalogs,
        "areas": [
            {
                "area": name,
                "wanted": not mismatches,
                "mismatches": [{"rule": each.rule, "text": each.text} for each in mismatches],
            }
            for name, mismatches in found.areas.items()
        ],
        "unknown": found.unknown,
        "remedy": found.remedy,
    }


def _print(found: Explanation) -> None:
    print_line(found.id)
    _print_state(found)
    for catalog, answer in found.catalogs.items():
        print_line(f"  {catalog:10}  {answer}")
    for name, mismatches in found.areas.items():
        text = "; ".join(each.text for each in mismatches) or "wants it"
        print_line(f"  {name:10}  {text}")
    if found.remedy:
        print_line(f"  to have it  {found.remedy}")
    elif found.entry is None and not found.exit_code:
        print_line("  no catalog lists it")
    for text in found.unknown:
        print_error(f"could not look at {text}")


def _print_state(found: Explanation) -> None:
    entry = found.entry
    if entry is None:
        print_line(f"  {'ledger':10}  does not know it")
        if found.wanting:
            print_line(f"  {'':10}  the next polls and sweeps find what areas want")
        return
    reason = f": {entry.reason}" if entry.reason else ""
    print_line(f"  {entry.state:10}  since {format_time(entry.changed_at)} UTC{reason}")
    if entry.state in HELD:
        text = f"at the next prune, by {found.removal}" if found.removal else found.kept
        print_line(f"  {'removed' if found.removal else 'kept':10}  {text or 'no rule applies'}")
