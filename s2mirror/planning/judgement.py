"""Judges a mirror: one rule per kind of trouble, from facts to findings.

docs/findings.md explains every code. A new rule is a function here or in a module beside this one,
a place in ``RULES``, and a row of that table.
"""

from collections.abc import Callable, Iterable
from typing import Final

from s2mirror.planning import archive_rules, ledger_rules, process_rules, work_rules
from s2mirror.planning.facts import Facts
from s2mirror.planning.findings import Finding, Judgement, worst_first
from s2mirror.planning.force_rules import force_queue_works
from s2mirror.planning.scrub import archive_is_sound
from s2mirror.planning.silence import areas_silent
from s2mirror.planning.store_backoff import store_throttled

Rule = Callable[[Facts], Iterable[Finding]]
RULES: Final[tuple[Rule, ...]] = (
    *archive_rules.RULES,
    *process_rules.RULES,
    *ledger_rules.RULES,
    *work_rules.RULES,
    archive_is_sound,
    areas_silent,
    force_queue_works,
    store_throttled,
)


def judge(facts: Facts) -> Judgement:
    """Return every finding from *facts*, worst first."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return Judgement(at=facts.now, findings=worst_first(found))
