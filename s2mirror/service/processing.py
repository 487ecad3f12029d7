"""The process step of a mirror, by its configuration."""

from datetime import timedelta

from s2mirror.planning.retry import RetryPolicy
from s2mirror.service.wiring import Mirror
from s2mirror.steps.process import Processor


def processor(mirror: Mirror) -> Processor:
    """Return the process step."""
    settings, entry = mirror.settings, next(iter(mirror.settings.process), None)
    return Processor(
        ledger=mirror.ledger,
        archive=mirror.archive,
        name=entry.name if entry else "",
        command=entry.command if entry else (),
        timeout=entry.timeout if entry else timedelta(),
        policy=RetryPolicy(
            max_attempts=entry.max_attempts if entry else 1,
            first_wait=settings.download.backoff,
            longest_wait=settings.download.backoff_cap,
        ),
        marker_suffix=settings.processing.marker_suffix,
        now=mirror.now,
        jitter=mirror.jitter,
    )
