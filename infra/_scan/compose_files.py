"""Compose files: rights that lead out of the container, and secrets in plain text."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra._scan.finding import Severity

SECRET_NAME = re.compile(r"(?i)(?:password|passwd|secret|token|api_?key|private_?key|credential)")
ROOT_LIKE = {"ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "DAC_READ_SEARCH"}
PUBLISHED = re.compile(r"(?:0\.0\.0\.0:)?[\d-]+:[\d-]+(?:/\w+)?")
Found = tuple[str, Severity, int, str, str]


def read(text: str, _path: Path) -> Iterator[Found]:
    """Raises ValueError where the file is no YAML, or has no services."""
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {str(error).splitlines()[0]}") from error
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict):
        raise ValueError("it has no services")
    lines = text.splitlines()
    for name, service in services.items():
        line = next((n for n, one in enumerate(lines, start=1) if re.match(rf"\s+{re.escape(str(name))}\s*:", one)), 0)
        if isinstance(service, dict):
            for rule, severity, message in [*_rights(service), *_mounts(service), *_values(service)]:
                yield rule, severity, line, f"service {name}: {message}", f"{name} {message}"


def _rights(service: dict[str, Any]) -> Iterator[tuple[str, Severity, str]]:
    if service.get("privileged") is True:
        yield "privileged", Severity.HIGH, "privileged gives the container control of the host"
    for key in ("network_mode", "pid", "ipc", "userns_mode"):
        if service.get(key) == "host":
            yield "shares-host", Severity.MEDIUM, f"{key}: host shares this with the host"
    if extra := sorted(ROOT_LIKE & {str(one).upper().removeprefix("CAP_") for one in _list(service.get("cap_add"))}):
        yield "capabilities", Severity.HIGH, f"cap_add {', '.join(extra)} gives nearly root rights on the host"
    if any("unconfined" in str(one) for one in _list(service.get("security_opt"))):
        yield "unconfined", Severity.HIGH, "security_opt turns off a protection"


def _mounts(service: dict[str, Any]) -> Iterator[tuple[str, Severity, str]]:
    for mount in _list(service.get("volumes")):
        source = str(mount.get("source", "")) if isinstance(mount, dict) else str(mount).partition(":")[0]
        if source.endswith("docker.sock") or source.endswith("containerd.sock"):
            yield "docker-socket", Severity.HIGH, f"{source} gives the container control of the host"
        elif source in ("/", "/etc", "/root", "/var/run", "/proc", "/sys"):
            yield "mounts-host", Severity.HIGH, f"it mounts {source} of the host"


def _values(service: dict[str, Any]) -> Iterator[tuple[str, Severity, str]]:
    given = service.get("environment")
    pairs = (
        given.items()
        if isinstance(given, dict)
        else (str(one).split("=", 1) for one in _list(given) if "=" in str(one))
    )
    for key, value in pairs:
        plain = value not in (None, "") and "$" not in str(value)
        if SECRET_NAME.search(str(key)) and plain and not str(key).upper().endswith(("_FILE", "_PATH")):
            yield "secret-in-compose", Severity.HIGH, f"{key} is in plain text; use a secret or a variable"
    for port in _list(service.get("ports")):
        if isinstance(port, str) and PUBLISHED.fullmatch(port):
            yield "published-port", Severity.LOW, f"port {port} is open on all interfaces; write 127.0.0.1:{port}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
