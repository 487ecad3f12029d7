"""The result of one cycle, and its exit code."""

from dataclasses import dataclass, field

from s2mirror.errors import OutsideError, StoreUnreachable
from s2mirror.model import Rejected
from s2mirror.planning.downloads import DownloadPlan
from s2mirror.planning.findings import Judgement
from s2mirror.planning.retention import PrunePlan, Removal
from s2mirror.steps.poll import PollResult


@dataclass(slots=True, kw_only=True)
class CycleResult:
    """The result of one cycle."""

    polls: list[PollResult] = field(default_factory=list)
    poll_errors: list[OutsideError] = field(default_factory=list)
    store_error: StoreUnreachable | None = None
    """Set if the store could not be reached, so that due products still wait."""
    downloads: DownloadPlan | None = None
    archived: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    received_bytes: int = 0
    withdrawn: list[str] = field(default_factory=list)
    """Products that were deleted upstream before they were downloaded."""
    processed: list[str] = field(default_factory=list)
    pruned: PrunePlan | None = None
    previews: int = 0
    """How many previews were made."""
    remaining: int = 0
    """Products that wait, failed or are quarantined."""
    skipped: dict[str, int] = field(default_factory=dict)
    """The number of listed items that are not mirrored, by the reason."""
    unusable: list[Rejected] = field(default_factory=list)
    """Listed items that could not become products."""
    judgement: Judgement | None = None
    """Every finding at the end of the cycle; None before."""

    @property
    def new_ids(self) -> list[str]:
        """Products that the catalog listed for the first time."""
        return [product_id for poll in self.polls for product_id in poll.new_ids]

    @property
    def gone(self) -> tuple[Removal, ...]:
        """Products that were removed; none if the brake or the clock stopped the removal."""
        return self.pruned.removals if self.pruned and not self.pruned.stopped else ()

    @property
    def outside_errors(self) -> list[OutsideError]:
        """Errors of outside services."""
        return [*self.poll_errors, *([self.store_error] if self.store_error else [])]

    @property
    def exit_code(self) -> int:
        """Return 3 if a service is away, 1 if anything else is wrong, else 0.

        Products that wait for the quota or for their next attempt are not wrong.
        """
        if self.outside_errors:
            return self.outside_errors[0].exit_code
        return 0 if self.judgement is None or self.judgement.ok else 1
