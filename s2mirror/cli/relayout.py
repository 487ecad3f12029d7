"""``relayout``: move held products to a changed layout."""

from s2mirror.clean_text import format_count
from s2mirror.cli.context import ConfigOption, DryRunOption, JsonOption, VerboseOption
from s2mirror.cli.mirrors import exclusive_mirror, shared_mirror
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import AlreadyRunning
from s2mirror.service.cycle import prepare
from s2mirror.service.relayout import relayout as relayout_archive
from s2mirror.service.relayout import relayout_values, relocator
from s2mirror.service.results import Values


def relayout(
    config: ConfigOption = None,
    *,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Move held products to a changed layout.

    After a change of the layout, products stay where they are until this command moves them. It
    downloads nothing. A stop or crash leaves each product at its old or its new path; run the
    command again to continue. No other s2mirror may use the mirror meanwhile.

    Exit code 1: some products cannot be moved, or the command was stopped.
    """
    if dry_run:
        with shared_mirror(config) as mirror:
            done = relayout_values(relocator(mirror).plan(), dry_run=True)
    else:
        try:
            with exclusive_mirror(config, verbose=verbose) as mirror, stopped_by_signals() as stop:
                prepare(mirror)
                done = relayout_archive(mirror, stop)
        except AlreadyRunning as error:
            raise AlreadyRunning(
                "no product was moved: another s2mirror uses the mirror and may be reading its "
                "products. Stop it, run `s2mirror relayout`, and start it again"
            ) from error
    if as_json:
        print_json(done)
    else:
        _print(done)
    return 1 if done["refused"] or done["stopped"] else 0


def _print(done: Values) -> None:
    verb = "would move" if done["dry_run"] else "moved"
    for product_id, paths in done["moved"].items():
        print_line(f"{verb}  {product_id}  from {paths['from']} to {paths['to']}")
    for product_id, why in done["refused"].items():
        print_error(f"{product_id} stays at its path: {why}")
    print_line(f"{verb} {format_count(len(done['moved']), 'product')}")
    if done["stopped"]:
        print_error("stopped before all products were moved; run the command again to continue")
