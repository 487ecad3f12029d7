"""Few messages, and the right ones: outage, recovery, storm, flapping."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.alerts import (
    AlertKind,
    AlertPolicy,
    AlertState,
    Message,
    NewImage,
    plan_alerts,
    plan_image_alert,
)
from s2mirror.planning.findings import Finding, Judgement, Severity, worst_first

START = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = AlertPolicy(
    kinds=frozenset(AlertKind),
    delay=2 * MINUTE,
    interval=60 * MINUTE,
    image_interval=15 * MINUTE,
)


def finding(
    code: str = "store.unreachable", severity: Severity = Severity.FAILURE, subject: str = ""
) -> Finding:
    return Finding(code=code, severity=severity, text="the store does not respond", subject=subject)


def run(
    worlds: Iterable[tuple[float, list[Finding]]],
    policy: AlertPolicy = POLICY,
    state: AlertState | None = None,
) -> list[Message]:
    """Return the messages for findings at minutes."""
    state, sent = state or AlertState(), []
    for minute, findings in worlds:
        judged = Judgement(at=START + minute * MINUTE, findings=worst_first(findings))
        state, messages = plan_alerts(state, judged, policy)
        sent += messages
    return sent


def kinds(messages: Iterable[Message]) -> list[str]:
    return [str(message.kind) for message in messages]


def test_outage_and_recovery_are_one_message_each() -> None:
    outage = [(minute, [finding()]) for minute in range(600)]
    quiet = [(minute, []) for minute in range(600, 900)]
    assert kinds(run([(-1, []), *outage, *quiet])) == ["failure", "recovery"]


def test_fault_shorter_than_the_delay_is_not_reported() -> None:
    assert run([(0, [finding()]), (1, [finding()]), (1.5, []), (60, [])]) == []


@pytest.mark.long
def test_storm_of_thousand_failures_is_one_bounded_message() -> None:
    storm = [finding("products.failed", subject=f"product-{n}") for n in range(1000)]
    sent = run([(minute, storm) for minute in range(60)])
    assert kinds(sent) == ["failure"]
    assert len(sent[0].lines) == 21
    assert sent[0].lines[-1].startswith("and 980 more")


def test_storm_that_grows_is_few_messages() -> None:
    worlds = [
        (n / 2, [finding("products.failed", subject=f"p{i}") for i in range(n + 1)])
        for n in range(200)
    ]
    assert kinds(run(worlds)) == ["failure", "failure"]


def test_flapping_fault_is_one_message_per_interval() -> None:
    worlds = [(n, [finding()] if n // 5 % 2 else []) for n in range(600)]
    sent = kinds(run(worlds))
    assert 10 <= sent.count("failure") <= 11
    assert sent.count("recovery") <= sent.count("failure")


def test_worse_finding_is_reported_again_after_the_interval() -> None:
    warning, failure = finding(severity=Severity.WARNING), finding()
    worlds = [(n, [warning if n < 30 else failure]) for n in range(120)]
    assert [str(message.severity) for message in run(worlds)] == ["warning", "failure"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("keys.expire_soon", "keys"),
        ("quota.used", "quota"),
        ("prune.braked", "brake"),
        ("products.quarantined", "quarantine"),
        ("store.failover", ""),
    ],
)
def test_notices_of_a_kind_are_reported(code: str, kind: str) -> None:
    sent = run([(n, [finding(code, Severity.NOTICE)]) for n in range(10)])
    assert kinds(sent) == ([kind] if kind else [])


def test_notice_alone_makes_no_recovery() -> None:
    notice = finding("quota.used", Severity.NOTICE)
    assert kinds(run([*[(n, [notice]) for n in range(10)], (20, []), (30, [])])) == ["quota"]


def test_unselected_kinds_are_not_reported() -> None:
    policy = replace(POLICY, kinds=frozenset({AlertKind.KEYS}))
    assert run([(n, [finding()]) for n in range(10)], policy) == []


def test_without_delay_one_cycle_is_enough() -> None:
    policy = replace(POLICY, delay=timedelta())
    assert kinds(run([(0, [finding()]), (60, [finding()]), (120, [])], policy)) == [
        "failure",
        "recovery",
    ]


def test_clock_set_back_does_not_silence_alerts() -> None:
    late = AlertState(sent={AlertKind.FAILURE: START + timedelta(days=400)})
    assert kinds(run([(n, [finding()]) for n in range(90)], state=late)) == ["failure"]


worlds_of_findings = st.lists(
    st.lists(
        st.builds(
            finding,
            st.sampled_from(["a.b", "keys.x", "prune.braked", "quota.used"]),
            st.sampled_from([*Severity]),
            st.sampled_from(["", "one", "two"]),
        ),
        max_size=4,
    ),
    max_size=80,
)


@given(worlds=worlds_of_findings)
def test_any_findings_keep_limit_and_alternate(worlds: list[list[Finding]]) -> None:
    sent = run([(10 * n, findings) for n, findings in enumerate(worlds)])
    for kind in set(AlertKind) - {AlertKind.RECOVERY}:
        times = [message.at for message in sent if message.kind is kind]
        assert all(late - early >= POLICY.interval for early, late in pairwise(times))
    recoveries = [n for n, message in enumerate(sent) if message.kind is AlertKind.RECOVERY]
    for before, after in zip([-1, *recoveries], recoveries, strict=False):
        assert any(
            message.severity.rank >= Severity.WARNING.rank for message in sent[before + 1 : after]
        )


def test_new_images_are_one_digest_per_interval() -> None:
    images = [NewImage(product_id=f"S2A_{n}", areas=("zurich", "bern")) for n in range(300)]
    state, sent = plan_image_alert(AlertState(), images, POLICY, now=START)
    assert sent[0].title == "300 new images (bern: 300, zurich: 300)"
    assert len(sent[0].lines) == 21
    assert plan_image_alert(state, images, POLICY, now=START + MINUTE) == (state, ())
