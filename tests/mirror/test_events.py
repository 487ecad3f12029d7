"""Events of the mirror: each change is recorded once."""

from dataclasses import replace

from kit import Kit

from s2mirror.planning.findings import Finding, Judgement, Severity
from s2mirror.service.judgement import record_findings


def finding(code: str, subject: str = "", text: str = "why") -> Finding:
    return Finding(code=code, severity=Severity.WARNING, text=text, subject=subject)


def test_finding_is_recorded_when_it_begins_and_ends(kit: Kit) -> None:
    mirror = kit.mirror()
    late, full = finding("area.late", "zurich"), finding("disk.full", "/data")

    def judged(*findings: Finding) -> None:
        found = Judgement(at=mirror.now(), findings=findings)
        record_findings(mirror.settings, mirror.ledger, found)

    began = mirror.now()
    judged()
    judged(full)
    judged(replace(full, text="fuller"), late)
    judged(late)
    judged()
    found = list(mirror.ledger.events.since(began, events=["finding"]))
    assert [(each.event, each.areas, each.detail) for each in found] == [
        ("finding.begun", (), "disk.full /data: why"),
        ("finding.begun", ("zurich",), "area.late zurich: why"),
        ("finding.ended", (), "disk.full /data: fuller"),
        ("finding.ended", ("zurich",), "area.late zurich: why"),
    ]
