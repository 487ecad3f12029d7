"""The files for services: the timer variant, the ready configuration, Compose and Kubernetes."""

import shutil
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from checkout import ROOT, UNIT, directives, uncommented
from test_unit import EXECUTABLE, analyze, needs_systemd

from s2mirror.config import Loaded, load_settings, parse_settings

SYSTEMD: Final = ROOT / "systemd"
SYNC: Final = SYSTEMD / "s2mirror-sync.service"
TIMER: Final = SYSTEMD / "s2mirror-sync.timer"
FAILURE: Final = SYSTEMD / "s2mirror-failure@.service"
SERVICE_TOML: Final = ROOT / "config" / "s2mirror.service.toml"
KUBERNETES: Final = ROOT / "config" / "kubernetes.yaml"
COMPOSE: Final = ROOT / "config" / "compose.yaml"
OF_THE_DAEMON: Final = frozenset(
    {"Type", "NotifyAccess", "ExecStart", "ExecReload", "WatchdogSec", "TimeoutStartSec"}
    | {"Restart", "RestartSec", "RestartPreventExitStatus", "StartLimitIntervalSec"}
)
"""The directives in which the timer variant differs, beside those of the section ``Unit``."""


@needs_systemd
def test_systemd_verifies_timer_and_failure_units(tmp_path: Path) -> None:
    stub = tmp_path / "s2mirror"
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    for source in (UNIT, SYNC, TIMER, FAILURE):
        (tmp_path / source.name).write_text(source.read_text().replace(EXECUTABLE, str(stub)))
    shutil.copy(tmp_path / FAILURE.name, tmp_path / "s2mirror-failure@x.service")
    units = [tmp_path / name for name in (SYNC.name, TIMER.name, "s2mirror-failure@x.service")]
    done = analyze("verify", *units)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.parametrize("unit", [SYNC, TIMER, FAILURE], ids=lambda path: path.name)
def test_every_line_of_each_unit_has_a_comment(unit: Path) -> None:
    assert uncommented(unit.read_text()) == []


def test_sync_has_the_restrictions_of_the_daemon() -> None:
    def restrictions(unit: Path) -> list[tuple[str, str]]:
        lines = directives(
            unit.read_text().partition("\n[Service]\n")[2].partition("\n[Install]")[0]
        )
        return [line for line in lines if line[0] not in OF_THE_DAEMON | {"SuccessExitStatus"}]

    assert restrictions(SYNC) == restrictions(UNIT)


def test_timer_starts_the_sync_of_the_daemons_configuration() -> None:
    assert TIMER.stem == SYNC.stem
    start = dict(directives(SYNC.read_text()))["ExecStart"]
    daemon = dict(directives(UNIT.read_text()))["ExecStart"]
    assert start == daemon.replace(" run ", " sync --verbose ")


def test_daemon_and_timer_exclude_each_other() -> None:
    for unit in (SYNC, TIMER):
        assert dict(directives(unit.read_text()))["Conflicts"] == UNIT.name


def test_ready_configuration_suits_the_unit() -> None:
    unit = dict(directives(UNIT.read_text()))
    settings = load_settings(SERVICE_TOML, environment={}).settings
    state = Path("/var/lib") / unit["StateDirectory"]
    assert settings.archive.root.is_relative_to(state)
    assert settings.ledger.path.is_relative_to(state)
    assert not settings.ledger.path.is_relative_to(settings.archive.root)
    assert f"config/{SERVICE_TOML.name} /etc/s2mirror/s2mirror.toml" in UNIT.read_text()


def test_compose_limits_memory_and_writes_only_volumes() -> None:
    (service,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    assert service["mem_limit"] == "4g"
    assert service["read_only"] is True
    assert (service["cap_drop"], service["restart"]) == (["ALL"], "unless-stopped")


@pytest.fixture(scope="module", name="objects")
def _objects() -> dict[str, dict[str, Any]]:
    """Return the objects of the Kubernetes manifest by kind and name."""
    found = [*yaml.safe_load_all(KUBERNETES.read_text())]
    assert all({"apiVersion", "kind", "metadata"} <= set(item) for item in found)
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in found}


@pytest.fixture(scope="module", name="pod")
def _pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment/s2mirror"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module", name="loaded")
def _loaded(objects: dict[str, dict[str, Any]]) -> Loaded:
    """Return the configuration of the manifest, with a page token."""
    text = objects["ConfigMap/s2mirror"]["data"]["s2mirror.toml"]
    environment = {"S2MIRROR_WEB_TOKEN": "a-token-of-a-test-only"}
    source = Path("/config/s2mirror.toml")
    return parse_settings(tomllib.loads(text), source=source, environment=environment)


def test_kubernetes_runs_one_pod_at_a_time(objects: dict[str, dict[str, Any]]) -> None:
    spec = objects["Deployment/s2mirror"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert objects["Service/s2mirror"]["spec"]["selector"] == labels


def test_kubernetes_grants_no_rights(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    granted = pod["securityContext"]
    assert (granted["runAsNonRoot"], granted["runAsUser"], granted["fsGroup"]) == (
        True, 10001, 10001,
    )  # fmt: skip
    assert granted["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False


def test_kubernetes_mounts_every_folder_that_is_used(
    pod: dict[str, Any], objects: dict[str, dict[str, Any]], loaded: Loaded
) -> None:
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    for path in (loaded.settings.archive.root, loaded.settings.ledger.path.parent):
        claim = volumes[mounts[str(path)]["name"]]["persistentVolumeClaim"]["claimName"]
        assert objects[f"PersistentVolumeClaim/{claim}"]
    assert mounts["/config"]["readOnly"]
    assert volumes[mounts["/config"]["name"]]["configMap"]["name"] == "s2mirror"
    secrets = next(path for path in mounts if path.startswith("/run/secrets/"))
    assert all(entry["value"].startswith(f"{secrets}/") for entry in container["env"])
    assert mounts[secrets]["readOnly"]


def test_kubernetes_probes_ask_the_page(pod: dict[str, Any], loaded: Loaded) -> None:
    (container,) = pod["containers"]
    (port,) = container["ports"]
    listen = loaded.settings.web.listen
    assert listen is not None
    assert (str(listen.host), listen.port) == ("0.0.0.0", port["containerPort"])  # noqa: S104
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    # A finding, such as a refused key, is no reason for a restart.
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert {container[f"{name}Probe"]["httpGet"]["port"] for name in paths} == {port["name"]}


def test_kubernetes_limits_memory(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"memory": "4Gi"}
