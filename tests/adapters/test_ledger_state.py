"""State values: each is read as it was written, and an unreadable one is named."""

from collections.abc import Iterator
from typing import Any

import pytest
from builders import NOW
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s2mirror.adapters.ledger import Ledger, open_ledger, state_values
from s2mirror.adapters.ledger.records import (
    BackoffRecord,
    ClockBehindRecord,
    ClockFaultRecord,
    CycleRecord,
    ForceQueueRecord,
    HealthRecord,
    LayoutRecord,
    ProblemRecord,
    RunRecord,
    ThrottlingRecord,
    TroubleRecord,
)
from s2mirror.adapters.ledger.state_values import (
    CertificateRecord,
    ConfigurationFaultRecord,
    StateValue,
    TargetRecord,
)
from s2mirror.adapters.ledger.totals import JOBS_SUCCEEDED
from s2mirror.errors import LedgerError
from s2mirror.planning.alerts import AlertKind, AlertState, Message
from s2mirror.planning.findings import Severity
from s2mirror.service.alert_memory import ALERTS, AlertMemory, ChannelTrouble, QueuedMessage

ALERTS_KEPT = AlertMemory(
    state=AlertState(
        begun={"disk.full": NOW},
        reported={"disk.full": Severity.WARNING},
        sent={"failure": NOW},
        in_trouble=True,
        fine_since=NOW,
    ),
    queue=(
        QueuedMessage(
            message=Message(
                at=NOW,
                kind=AlertKind.QUOTA,
                severity=Severity.NOTICE,
                title="é",
                lines=("a", ""),
            ),
            channels=("command",),
        ),
    ),
    trouble={"command": ChannelTrouble(since=NOW, reason="503", tries=2, next_at=NOW)},
    images_after=7,
)
VALUES: dict[StateValue[Any], Any] = {
    state_values.ARCHIVE_ID: "one",
    state_values.SEARCH_GEOMETRIES: {"5f": "[]"},
    state_values.AREA_PRIORITIES: {"alps": 3, "rhine": -1},
    state_values.LAYOUT: LayoutRecord(template="T{tile}", elsewhere=2, counted_at=NOW),
    state_values.BRAKE: TroubleRecord(text="51 products", since=NOW),
    state_values.CLOCK_AHEAD_UNTIL: NOW,
    state_values.PROCESSING_IN_USE: "5f",
    state_values.CLOCK_BEHIND: ClockBehindRecord(seconds=3600, until=NOW),
    state_values.CLOCK_CONFIRMED_AT: NOW,
    state_values.CLOCK_DOUBT: "",
    state_values.CLOCK_FAULT: ClockFaultRecord(ahead=True, behind_seconds=60),
    state_values.CONFIGURATION_FAULT: ConfigurationFaultRecord(
        at=NOW, text="area[0].bbox: expected four numbers", at_reload=True
    ),
    state_values.CYCLE_TROUBLE: TroubleRecord(text="the key pair is wrong", since=NOW),
    state_values.DAEMON_RUN: RunRecord(began_at=NOW, paused_seconds=7),
    state_values.DELETIONS_READ_AT: NOW,
    state_values.DELETIONS_READ_UNTIL: NOW,
    state_values.DELETIONS_TROUBLE: TroubleRecord(text="", since=NOW),
    state_values.FINDINGS: {"disk.full": "no space", "area.late alps": ""},
    state_values.FORCE_FAILED: {"S2A": "2026-05-27T10:20:31Z"},
    state_values.FORCE_QUEUE: ForceQueueRecord(
        seen="1:2", trouble="", since=NOW, bad_lines=2, first_bad=7
    ),
    state_values.GEOPARQUET_WRITTEN_AT: NOW,
    state_values.GOOD_CYCLE_AT: NOW,
    state_values.HEALTH: HealthRecord(
        at=NOW,
        problems=(
            ProblemRecord(source="fetch", text="disk full", since=NOW),
            ProblemRecord(source="é", text="", since=NOW),
        ),
    ),
    JOBS_SUCCEEDED: {"poll": NOW},
    ALERTS: ALERTS_KEPT,
    state_values.KEY_WARNINGS: {"1": "2026-03-01 7"},
    state_values.LAST_CYCLE: CycleRecord(began_at=NOW, ended_at=NOW),
    state_values.LEDGER_BACKUP_AT: NOW,
    state_values.LEDGER_DAMAGE: TroubleRecord(text="", since=NOW),
    state_values.LOCAL_CATALOG_FOLDER: "",
    state_values.PREVIEW_RULES: "[]",
    state_values.PREVIEWS_BACKOFF_UNTIL: NOW,
    state_values.PREVIEWS_TROUBLE: TroubleRecord(text="answered 503", since=NOW),
    state_values.SEARCHES_IN_USE: {"sentinel-2-l2a:ab": 900},
    state_values.PRUNE_CONFIRMED_AT: NOW,
    state_values.PRUNE_SHORT: TroubleRecord(text="2 GB", since=NOW),
    state_values.STORE_BACKOFF: BackoffRecord(
        refused_count=2, since=NOW, at=NOW, until=NOW, reason="SlowDown", logged_at=NOW
    ),
    state_values.STORE_TARGET: TargetRecord(endpoint="https://s3", key=2, since=NOW, why="403"),
    state_values.THROTTLING: ThrottlingRecord(at=NOW, note=""),
    state_values.VIRTUAL_CLOCKS: {"*fresh": 1.5, "alps": 1e300},
    state_values.area_fingerprint_key("alps"): "ab",
    state_values.certificate_key("alps"): CertificateRecord(
        checked_at=NOW, published=3, held=2, missing=1, complete=False, two_catalogs=True
    ),
    state_values.area_preview_key("latest"): NOW,
    state_values.odata_listed_key("sentinel-2-l2a:ab"): NOW,
    state_values.catalog_away_key("sentinel-2-l2a:ab"): NOW,
}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path_factory.mktemp("state") / "ledger.db")
    yield opened
    opened.close()


def by_name(key: StateValue[Any]) -> str:
    return key.name


def test_every_key_has_its_own_name() -> None:
    declared = {key for key in vars(state_values).values() if isinstance(key, StateValue)}
    assert declared <= VALUES.keys()
    assert len({key.name for key in VALUES}) == len(VALUES)


@pytest.mark.parametrize("key", VALUES, ids=by_name)
def test_state_value_comes_back_as_it_was(ledger: Ledger, key: StateValue[Any]) -> None:
    assert ledger.state.get(key) is None
    ledger.state.set(key, VALUES[key])
    ledger.state.set(key, VALUES[key])
    assert ledger.state.get(key) == VALUES[key]


@pytest.mark.parametrize(
    ("key", "damaged", "why"),
    [
        (state_values.HEALTH, "[1]", "'[1]' is not a JSON object"),
        (state_values.DELETIONS_READ_AT, "2026-01-01", "'2026-01-01' has no time zone"),
        (state_values.AREA_PRIORITIES, '{"alps":true}', "True is not of type int"),
        (state_values.THROTTLING, '{"at":"x"}', "it has the fields at"),
    ],
)
def test_unreadable_state_value_is_named(
    ledger: Ledger, key: StateValue[Any], damaged: str, why: str
) -> None:
    store(ledger, key, damaged)
    with pytest.raises(LedgerError) as caught:
        ledger.state.get(key)
    assert str(caught.value) == (
        f"ledger {ledger.connection.path}: the state value {key.name!r} cannot be read ({why}); "
        "another version of s2mirror wrote it. Install that version again"
    )


@pytest.mark.long
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(VALUES)), st.text(st.characters(exclude_categories=["Cs"])))
@example(state_values.HEALTH, "[" * 100_000)
@example(state_values.AREA_PRIORITIES, '{"a":' + "9" * 5000 + "}")
def test_any_text_is_a_value_or_refused(ledger: Ledger, key: StateValue[Any], text: str) -> None:
    store(ledger, key, text)
    try:
        ledger.state.get(key)
    except LedgerError as error:
        assert key.name in str(error)  # noqa: PT017 - either outcome is right; any other fails


def store(ledger: Ledger, key: StateValue[Any], text: str) -> None:
    """Store any text under a key, as another version could."""
    ledger.state.set(StateValue(key.name, str, str), text)
