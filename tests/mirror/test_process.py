"""The hook: the user's own program, which can do anything."""

import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from kit import Kit, tiny, wait_until

from s2mirror.errors import LedgerError, PathRefused
from s2mirror.lifecycle import Event
from s2mirror.model import Transition
from s2mirror.process_model import ProcessStatus
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.process_requests import ProcessRequest, chosen_runs
from s2mirror.service.processing import begin_processing, process
from s2mirror.stop import StopFlag

ENOUGH_TO_BEGIN = '"10 s"'
"""A time-out within which any hook has started, also on a busy machine."""


def hook(kit: Kit, script: str, **options: str) -> Path:
    """Write a shell script and make it the hook; return the file for its notes."""
    path = kit.folder / "hook.sh"
    path.write_text(f"#!/bin/sh\ncd {kit.folder}\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    lines = [f'command = ["{path}", "{{path}}", "{{id}}", "{{area}}"]']
    lines += [f"{name} = {value}" for name, value in options.items()]
    kit.sections["process"] = "\n".join(lines)
    return kit.folder / "notes"


def status(kit: Kit, product: SandboxProduct) -> ProcessStatus:
    """Return the state of the only processing entry for a product."""
    return kit.mirror().ledger.process.statuses(product.id)["chain"]


def assert_ended(notes: Path) -> None:
    """Assert that the process whose number is in *notes* ends soon."""
    status = Path("/proc", notes.read_text().strip(), "status")
    patience = time.monotonic() + 120
    # The process may end between any two checks.
    with suppress(FileNotFoundError, ProcessLookupError):
        while "(zombie)" not in status.read_text(encoding="utf-8"):
            assert time.monotonic() < patience, "it still runs"
            time.sleep(0.05)


@pytest.mark.long
def test_hook_with_exit_code_0_marks_product_processed(kit: Kit) -> None:
    notes = hook(kit, 'test -f "$1/manifest.safe" && echo "$1 $2 $3" >> notes')
    product = tiny()
    kit.sandbox.publish(product)
    assert kit.cycle().processed == [product.id]
    folder = kit.archive / product.prefix.rstrip("/")
    assert notes.read_text() == f"{folder} {product.id} zurich\n"
    assert kit.states() == {product.id: "processed"}
    assert kit.cycle().processed == [], "once is enough"
    kit.assert_invariants()


def test_placeholder_within_a_value_stays(kit: Kit) -> None:
    notes = hook(kit, 'test -d "$1" && echo "$1" >> notes')
    kit.folder = kit.folder / "of-{area}"
    kit.folder.mkdir()
    product = tiny()
    kit.sandbox.publish(product)
    assert kit.cycle().processed == [product.id]
    assert notes.read_text() == f"{kit.archive / product.prefix.rstrip('/')}\n"


@pytest.mark.long
def test_failed_hook_runs_again_later(kit: Kit) -> None:
    notes = hook(kit, 'echo x >> notes; echo "no licence for $2" >&2; exit 3')
    product = tiny()
    kit.sandbox.publish(product)
    result = kit.cycle()
    assert (result.processed, result.exit_code) == ([], 1), "no hook ever succeeded"
    found = status(kit, product)
    assert (found.state, found.attempt, found.failures) == ("later", 1, 1)
    assert found.reason == f"chain, attempt 1 of 5: exit code 3: no licence for {product.id}"
    assert kit.states() == {product.id: "archived"}
    kit.cycle()
    assert notes.read_text() == "x\n", "before its time"
    hook(kit, "exit 0")
    assert kit.cycle(kit.later()).processed == [product.id]
    assert kit.events("process", "finding") == [
        *("process.failed", "finding.begun"),
        *("process.recovered", "finding.ended"),
    ]
    kit.assert_invariants()


@pytest.mark.long
def test_only_the_end_of_long_output_is_kept(kit: Kit) -> None:
    hook(kit, "seq 200000; echo the last word; exit 1")
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    assert status(kit, product).reason.endswith("199999 200000 the last word")
    assert len(status(kit, product).reason) < 500
    kit.assert_invariants()


def test_hook_runs_at_most_max_attempts_times(kit: Kit) -> None:
    notes = hook(kit, "echo x >> notes; exit 1", max_attempts="2")
    product = tiny()
    kit.sandbox.publish(product)
    for days in (0, 1, 2, 3):
        kit.cycle(kit.later(days=days))
    assert notes.read_text() == "x\nx\n"
    assert status(kit, product).reason.startswith("chain, attempt 2 of 2: exit code 1")
    assert kit.call("mark", "processed", product.id) == 0
    assert kit.states() == {product.id: "processed"}
    kit.assert_invariants()


@pytest.mark.long
def test_failing_hook_of_one_product_delays_no_other(
    kit: Kit,
) -> None:
    bad, *good = [tiny(day) for day in (27, 22, 20)]
    hook(kit, f'test "$2" != {bad.id}')
    kit.sandbox.publish([bad, *good])
    assert sorted(kit.cycle().processed) == sorted(product.id for product in good)
    assert kit.states()[bad.id] == "archived"
    kit.assert_invariants()


@pytest.mark.long
def test_hook_that_hangs_is_ended_with_its_children(kit: Kit) -> None:
    notes = hook(kit, "sleep 3000 & echo $! > notes; wait", timeout=ENOUGH_TO_BEGIN)
    product = tiny()
    kit.sandbox.publish(product)
    assert kit.cycle().processed == []
    assert_ended(notes)
    assert status(kit, product).reason == "chain, attempt 1 of 5: terminated after 0:00:10"
    kit.assert_invariants()


@pytest.mark.long
def test_hook_that_ignores_sigterm_is_killed(kit: Kit) -> None:
    script = "trap '' TERM; echo $$ > notes; while :; do sleep 1; done"
    notes = hook(kit, script, timeout=ENOUGH_TO_BEGIN)
    kit.sandbox.publish(tiny())
    assert kit.cycle().processed == []
    assert_ended(notes)
    kit.assert_invariants()


@pytest.mark.long
def test_child_that_ignores_sigterm_is_killed(kit: Kit) -> None:
    child = "(trap '' TERM; while :; do sleep 1; done) & echo $! > notes; wait"
    notes = hook(kit, child, timeout=ENOUGH_TO_BEGIN)
    kit.sandbox.publish(tiny())
    assert kit.cycle().processed == []
    assert_ended(notes)
    kit.assert_invariants()


@pytest.mark.long
def test_missing_hook_is_named(kit: Kit) -> None:
    kit.sections["process"] = 'command = ["/nowhere/hook"]'
    product = tiny()
    kit.sandbox.publish(product)
    assert kit.cycle().processed == []
    assert status(kit, product).reason == (
        "chain, attempt 1 of 5: cannot start '/nowhere/hook': No such file or directory"
    )
    kit.assert_invariants()


@pytest.mark.long
def test_hook_may_mark_its_product_itself(kit: Kit) -> None:
    product = tiny()
    command = " ".join(map(str, kit.command("mark", "processed", product.id)))
    hook(kit, f"exec {command}")
    kit.sandbox.publish(product)
    assert kit.cycle().exit_code == 0
    assert kit.entry(product).state == "processed"
    kit.assert_invariants()


@pytest.mark.long
def test_stop_ends_a_hook_and_counts_no_attempt(kit: Kit) -> None:
    notes = hook(kit, "echo $$ > notes; sleep 3000", timeout='"1 h"')
    product = tiny()
    kit.sandbox.publish(product)
    stop = StopFlag()

    def when_it_runs() -> None:
        while not (notes.exists() and notes.read_text()):
            time.sleep(0.05)
        stop.set()

    operator = threading.Thread(target=when_it_runs, daemon=True)
    operator.start()
    mirror = kit.mirror()
    kit.sections["process"] = ""
    kit.cycle()
    begin_processing(mirror)
    assert process(mirror, stop) == []
    assert stop.is_set()
    assert kit.states() == {product.id: "archived"}
    assert (status(kit, product).state, status(kit, product).failures) == ("waiting", 0)
    (run,) = kit.mirror().ledger.process_reports.runs(product.id)
    assert (run.outcome, run.exit_code) == ("stopped", None)
    assert_ended(notes)
    kit.assert_current(product)


@pytest.mark.long
def test_processed_marker_marks_product_processed(kit: Kit) -> None:
    kit.sections["processing"] = 'marker_suffix = ".done"'
    product, other = tiny(27), tiny(20)
    kit.sandbox.publish([product, other])
    kit.cycle()
    (kit.archive / product.prefix).with_suffix(".SAFE.done").touch()
    assert kit.cycle().processed == [product.id]
    assert kit.states() == {product.id: "processed", other.id: "archived"}
    kit.assert_invariants()


@pytest.mark.long
def test_mark_processed_refuses_an_unknown_product(
    kit: Kit,
) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    done = kit.run("mark", "processed", product.id, "S2X_UNKNOWN")
    assert done.returncode == 2
    assert "the ledger knows no product 'S2X_UNKNOWN'" in done.stderr + done.stdout
    assert kit.states() == {product.id: "processed"}
    kit.assert_invariants()


@pytest.mark.long
def test_environment_of_a_hook_has_no_secret(kit: Kit) -> None:
    kit.sections["process"] = (
        'command = ["/bin/sh", "-c", "env | grep -q S2MIRROR_ && exit 3 || exit 0"]'
    )
    kit.sandbox.publish(tiny(27))
    done = kit.run("sync")
    assert "1 processed" in done.stdout, done.stdout + done.stderr


TWO = """
[[process]]
name = "mask"
command = ["/bin/sh", "-c", "echo mask {id} >> FOLDER/order; exit $(cat FOLDER/code)"]
[[process]]
name = "tiles"
needs = ["mask"]
command = ["/bin/sh", "-c", "echo tiles {id} >> FOLDER/order"]
[[process]]
name = "level-1"
collections = ["sentinel-2-l1c"]
command = ["/bin/false"]
"""


@pytest.mark.long
def test_entries_run_in_order_and_again_on_request(kit: Kit) -> None:
    product, order = tiny(), kit.folder / "order"
    kit.areas += TWO.replace("FOLDER", str(kit.folder))
    (kit.folder / "code").write_text("75")
    kit.sandbox.publish(product)
    assert kit.cycle().processed == []
    statuses = kit.mirror().ledger.process.statuses(product.id)
    assert {name: one.state for name, one in statuses.items()} == {
        "mask": "later",
        "tiles": "blocked",
    }
    assert statuses["mask"].failures == 0, "exit code 75 is no failure"
    (kit.folder / "code").write_text("1")
    assert kit.call("process", product.id, "--name", "mask") == 1
    (kit.folder / "code").write_text("0")
    assert kit.call("process", "--failed", "--dry-run") == 0
    assert kit.call("process", "--failed") == 0
    assert kit.cycle().processed == [product.id]
    assert kit.states() == {product.id: "processed"}
    assert order.read_text().splitlines() == [
        *3 * [f"mask {product.id}"],
        f"tiles {product.id}",
    ]
    assert kit.call("process", product.id, "--name", "tiles") == 0, "of a processed one too"
    assert kit.call("process", product.id, "--name", "level-1") == 1, "does not apply"
    assert kit.call("process", product.id, "--name", "other") == 2
    kit.areas += '[[area]]\nname = "far"\nbbox = [100, 10, 101, 11]\nstart = 2026-01-01\n'
    asked = ProcessRequest(ids=[product.id, "S2A_unknown"], area="far")
    pairs, refused = chosen_runs(kit.mirror(), asked)
    assert pairs == ()
    assert refused == {
        product.id: "the product does not belong to the area far",
        "S2A_unknown": "the ledger does not know the product; `s2mirror why S2A_unknown` says why",
    }
    outcomes = [run.outcome for run in kit.mirror().ledger.process_reports.runs(product.id)]
    assert outcomes == ["later", "failed", "done", "done", "done"]
    kit.assert_invariants()


@pytest.mark.long
def test_kill_is_an_attempt_that_never_repeats(kit: Kit) -> None:
    notes = kit.folder / "notes"
    kit.sections["process"] = (
        f'command = ["/bin/sh", "-c", "echo {{id}} >> {notes}; test -e {notes}.go || sleep 600"]\n'
        "parallel = 2"
    )
    products = [tiny(day) for day in (20, 22, 24)]
    kit.sandbox.publish(products)
    mirror = kit.start("sync")
    wait_until(lambda: notes.exists() and len(notes.read_text().split()) == 2, "two runs")
    ledger = kit.mirror().ledger
    begun = {one.product_id for one in ledger.process.running()}
    assert begun == set(notes.read_text().split()), "at most two at the same time"
    one = ledger.products.get(min(begun))
    with pytest.raises(PathRefused, match="in use"):
        ledger.removals.begin(one.product.id, Transition(event=Event.PRUNE, reason="by age"))
    mirror.kill()
    mirror.wait()
    Path(f"{notes}.go").touch()
    assert sorted(kit.cycle().processed) == sorted(product.id for product in products)
    for product in products:
        runs = ledger.process_reports.runs(product.id)
        assert [run.attempt for run in runs] == list(range(1, len(runs) + 1))
        assert [run.outcome for run in runs] == [*["interrupted"] * (len(runs) - 1), "done"]
        assert len(runs) == 1 + (product.id in begun)
        assert notes.read_text().split().count(product.id) == len(runs)
    kit.assert_invariants()


@pytest.mark.long
def test_damaged_row_marks_nothing_and_delays_none(kit: Kit) -> None:
    first, second, third = tiny(20), tiny(22), tiny(24)
    hook(kit, "exit 1")
    kit.sandbox.publish([first, second])
    kit.cycle()
    ledger = kit.mirror().ledger
    for product, column in ((first, "state = 'done'"), (second, "entry = 'other'")):
        sql = f"UPDATE process_state SET {column} WHERE product_id = :id"  # noqa: S608 - ours
        ledger.connection.execute(sql, {"id": product.id})
        ledger.process.plan_again(product.id)
    hook(kit, "exit 0")
    kit.sandbox.publish(third)
    with pytest.raises(LedgerError, match="is damaged"):
        kit.cycle()
    with pytest.raises(LedgerError, match="is damaged"):
        process(kit.mirror(), StopFlag())
    states = kit.states()
    assert (states[first.id], states[second.id]) == ("archived", "archived")
    assert states[third.id] == "processed"
    assert kit.call("audit", "--repair") in (0, 1)
    assert sorted(process(kit.later(), StopFlag())) == sorted([first.id, second.id])
    kit.assert_invariants()
