"""compose.yaml and deploy/kubernetes: what every container has, checked without an engine and without a cluster."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from horae.settings import SidecarSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
GRACE = WorkerSettings().grace_seconds + 6
"""A process ends within 6 s after its grace period."""


def documents() -> list[dict[str, Any]]:
    names = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    files = [FOLDER / name for name in names]
    return [one for file in [*files, FOLDER / "secret.example.yaml"] for one in yaml.safe_load_all(file.read_text())]


def of(*kinds: str) -> list[dict[str, Any]]:
    return [one for one in documents() if one["kind"] in kinds]


def named(one: dict[str, Any]) -> str:
    return f"{one['kind']}-{one['metadata']['name']}"


WITHOUT_SCHEMA = {"ScaledObject"}
PODS = of("Deployment", "Job")
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
OURS = {name: one for name, one in SERVICES.items() if "build" in one}


@pytest.mark.parametrize("one", [one for one in documents() if one["kind"] not in WITHOUT_SCHEMA], ids=named)
def test_kubernetes_knows_every_field(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, "1.34", strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    [first, *_] = PODS
    first["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(first, "1.34", strict=True)


@pytest.mark.parametrize("one", of("Deployment", "Job"), ids=named)
def test_every_pod_is_restricted(one: dict[str, Any]) -> None:
    pod = one["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["terminationGracePeriodSeconds"] > GRACE
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert all("/" not in part or (ROOT / part).is_file() for part in container["command"])


@pytest.mark.parametrize("one", of("Deployment"), ids=named)
def test_every_deployment_has_probes_and_a_disruption_budget(one: dict[str, Any]) -> None:
    ports = {"sidecar": SidecarSettings().health_port, "queue-worker": WorkerSettings().health_port}
    name = one["metadata"]["name"]
    [container] = one["spec"]["template"]["spec"]["containers"]
    assert container["ports"][0]["containerPort"] == ports.get(name, 8080)
    pages = {
        probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    if name in ports:
        assert pages == {
            "startupProbe": "/health/live",
            "livenessProbe": "/health/live",
            "readinessProbe": "/health/ready",
        }
    labels = one["spec"]["template"]["metadata"]["labels"]
    [budget] = [found for found in of("PodDisruptionBudget") if found["metadata"]["name"] == name]
    assert budget["spec"]["selector"]["matchLabels"] == one["spec"]["selector"]["matchLabels"] == labels
    [policy] = of("NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_nothing_else_fires_jobs() -> None:
    assert not of("CronJob")
    [scaled] = of("ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] in {one["metadata"]["name"] for one in of("Deployment")}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_limited_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["restart"] == ("no" if name == "deploy" else "unless-stopped")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert bool(service["healthcheck"].get("test")) is (name != "deploy")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert bool(service.get("ports")) is (name in {"prefect-server", "prometheus", "grafana"})


@pytest.mark.parametrize("name", OURS)
def test_every_container_of_ours_has_a_read_only_root_and_no_capability(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert float(service["stop_grace_period"].removesuffix("s")) > GRACE
    assert not any("PASSWORD" in variable for variable in service["environment"])
