"""Install each extra of pyproject.toml in an environment of its own, and import what needs it.

Use: `python scripts/extras.py [NAME...]`. Each environment has Horae, the extra from uv.lock, and nothing more. So an
extra that lacks a library is found here, and not by the user who installs it alone. The output has the size of each
environment. The exit status is 1 if an extra fails; the output names the extra and the import.
"""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".horae/extras.d"
IMPORTED = {
    "prefect": ("prefect", "horae.prefect.deploying", "flows.*"),
    "docker": ("prefect_docker.worker",),
    "messaging": ("asyncpg", "prefect_redis.messaging", "prefect_redis.lease_storage"),
    "postgres": ("psycopg",),
    "kafka": ("aiokafka", "horae.queues.kafka.*"),
    "nats": ("nats", "horae.queues.nats.*"),
    "rabbitmq": ("aio_pika", "horae.queues.rabbitmq.*"),
    "cloudtasks": ("google.cloud.tasks_v2", "horae.queues.cloudtasks.*"),
    "backup": ("boto3", "pyrage", "infra.database_backup", "infra._backup.*"),
    "logs": ("duckdb", "infra.log_aggregation", "infra._logs.*"),
    "scan": ("bandit", "infra.security_scan", "infra._scan.*"),
    "secrets": ("cryptography", "psycopg", "infra.secret_rotation", "infra._secrets.*"),
    "audit": ("cvss", "cyclonedx.model.bom", "cyclonedx.validation.json", "packaging", "pip_audit", "flows._audit.*"),
    "ml": ("matplotlib", "pandas", "pyarrow", "sklearn", "skops.io", "flows._ml.*"),
    "etl": ("dlt", "dlt.destinations.impl.duckdb.duck", "duckdb", "psycopg2", "flows._etl.*"),
}
"""What needs each extra: its libraries, and modules of Horae and of the jobs. `.*` stands for all in a package."""
PROGRAM = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name.removesuffix(".*"))
        folders = module.__path__ if name.endswith(".*") else ()
        for one in pkgutil.iter_modules(folders):
            name = f"{module.__name__}.{one.name}"
            importlib.import_module(name)
    except BaseException as error:
        sys.exit(f"{name} cannot be imported: {type(error).__name__}: {error}")
"""


def declared() -> list[str]:
    """The extras of pyproject.toml, but `all`, which is made of the others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [name for name in project["optional-dependencies"] if name != "all"]


def uv() -> str:
    """The uv that set-up uses."""
    own = ROOT / ".horae/tools/uv/bin/uv"
    return str(own) if own.is_file() else shutil.which("uv") or "uv"


def failure(extra: str, place: Path) -> str | None:
    """Install the extra in an environment there and import what needs it; returns what went wrong, or None."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment |= {"UV_PROJECT_ENVIRONMENT": str(place), "PREFECT_HOME": str(place / "prefect")}
    sync = [uv(), "sync", "--quiet", "--frozen", "--no-dev", "--python", sys.executable, "--extra", extra]
    done = subprocess.run(sync, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"it cannot be installed: {done.stderr.strip()}"
    command = [str(place / "bin/python"), "-c", PROGRAM, *IMPORTED[extra]]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else None


def size_mb(place: Path) -> int:
    """Megabytes of all files in a folder."""
    return round(sum(path.lstat().st_size for path in place.rglob("*")) / 1e6)


def main(names: list[str]) -> int:
    extras = declared()
    unknown = [name for name in names if name not in extras]
    missing = [name for name in extras if name not in IMPORTED]
    if unknown or missing:
        told = f"unknown extra {unknown[0]!r}. Known: {', '.join(extras)}" if unknown else ""
        told = told or f"scripts/extras.py does not say what to import for the extra {missing[0]!r}; add it to IMPORTED"
        print(f"extras: {told}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or extras:
        began, place = time.monotonic(), ENVIRONMENTS / name
        try:
            why = failure(name, place)
            size = size_mb(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        failed += why is not None
        print(f"extras: {name:9} {why or 'ok'} ({time.monotonic() - began:.1f} s, {size} MB)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
