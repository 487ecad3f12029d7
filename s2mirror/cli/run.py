"""``run``: the daemon, as a process with signals, a lock and an exit code."""

import signal
from functools import partial

from s2mirror.adapters.lock import InstanceLock
from s2mirror.adapters.notify import Notifier
from s2mirror.cli.context import ConfigOption, config_path
from s2mirror.cli.signals import leave
from s2mirror.config import Loaded, Settings, load_settings
from s2mirror.errors import ConfigError
from s2mirror.service.alerting import reported_failure
from s2mirror.service.configuration import ConfigurationWatch
from s2mirror.service.daemon import Companions, Daemon, SignalRequests
from s2mirror.service.logs import log, set_up_logs
from s2mirror.service.options import secret_texts
from s2mirror.service.wiring import Mirror, open_mirror
from s2mirror.web import PageServer


def run(config: ConfigOption = None) -> int:
    """Run the daemon until SIGTERM.

    SIGHUP reads the configuration again; a faulty one is refused, and the old one stays active.
    """
    requests = _listen()
    settings = _begin(load_settings(config_path(config)))
    notifier = Notifier()
    with (
        InstanceLock(settings.ledger.path, takes_requests=True),
        reported_failure(settings, "run.failed"),
    ):
        mirror: Mirror | None = open_mirror(settings, create=True)
        while mirror is not None:
            reread = partial(_reread, config, mirror.settings)
            watch = ConfigurationWatch(config_path(config), mirror.ledger, mirror.now)
            companions = Companions(watch=watch, page=PageServer)
            daemon = Daemon(mirror, notifier, requests, reread, companions=companions)
            mirror = daemon.run()
        leave(0)


def _listen() -> SignalRequests:
    """Install signal handlers: they only set flags, which the daemon reads."""
    requests = SignalRequests()

    def reload(*_: object) -> None:
        """Request a reload."""
        requests.reload = True

    def stop(*_: object) -> None:
        """Request a stop."""
        requests.stop = True

    signal.signal(signal.SIGHUP, reload)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return requests


def _begin(loaded: Loaded) -> Settings:
    """Set up logs as configured, and log the notes of the configuration."""
    settings = loaded.settings
    set_up_logs(level=settings.log.level, form=settings.log.format, secrets=secret_texts(settings))
    for note in loaded.notes:
        log.warning("config.noted", note=note)
    return settings


def _reread(config: ConfigOption, now: Settings) -> Mirror:
    """Return the mirror of the current configuration. Raises MirrorError if that is refused."""
    loaded = load_settings(config_path(config))
    if loaded.settings.ledger.path != now.ledger.path:
        raise ConfigError("ledger.path has changed; restart the daemon to use the new ledger")
    mirror = open_mirror(loaded.settings, create=True)
    _begin(loaded)
    return mirror
