"""``metrics``: the mirror's metrics, for a person or a collector."""

from datetime import UTC, datetime

from s2mirror.cli.context import ConfigOption
from s2mirror.cli.ledgers import shared_ledger
from s2mirror.cli.output import print_text


def metrics(config: ConfigOption = None) -> int:
    """Print metrics in Prometheus's text format."""
    from s2mirror.service.metrics import render_metrics  # noqa: PLC0415 - late, as it takes time

    with shared_ledger(config) as (settings, ledger):
        print_text(render_metrics(settings, ledger, now=datetime.now(UTC)).decode().rstrip("\n"))
    return 0
