"""``alerts test``: send a message through every channel, and report which of them work."""

from datetime import UTC, datetime

from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import print_json, print_line
from s2mirror.errors import AlertError, ConfigError
from s2mirror.service.alert_channels import try_all


def send_test(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Send a message through every channel.

    The monitor of alerts.ping_url gets the ping that the mirror's health deserves. Exit code 3: a
    channel did not deliver.
    """
    settings = read_settings(config, late_geometry=True)
    outcomes = try_all(settings, now=datetime.now(UTC))
    if not outcomes:
        raise ConfigError(
            "no channel for alerts is configured; set alerts.ping_url, alerts.command or "
            "S2MIRROR_ALERT_URLS"
        )
    if as_json:
        print_json({"channels": {name: reason or "delivered" for name, reason in outcomes.items()}})
    else:
        for name, reason in outcomes.items():
            print_line(f"{name}: {f'not delivered: {reason}' if reason else 'delivered'}")
    return AlertError.exit_code if any(outcomes.values()) else 0
