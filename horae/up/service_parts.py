"""The sidecar, the queue worker and the receiver as parts of `horae up`."""

import asyncio
import sys
import urllib.error
import urllib.request

from horae.local.ports import LOOPBACK
from horae.settings import Settings
from horae.up.parts import DRAIN_SECONDS, Part

COMMANDS = {"sidecar": "sidecar", "queue-worker": "worker", "receiver": "receiver"}
TABLES = {"sidecar": "sidecar", "queue-worker": "worker", "receiver": "worker"}


def service_part(name: str, settings: Settings, health_port: int, needs: tuple[str, ...], *arguments: str) -> Part:
    """`name`: `sidecar`, `queue-worker` or `receiver`. The part gets the others' addresses and its health port."""
    assert settings.store.url
    env = {"HORAE_STORE__URL": settings.store.url.get_secret_value(), "PYTHONUNBUFFERED": "1"}
    table = TABLES[name]
    env[f"HORAE_{table.upper()}__HEALTH_PORT"] = str(health_port)
    # With a longer drain, it would be killed at its work instead of handing it back.
    env[f"HORAE_{table.upper()}__GRACE_SECONDS"] = str(min(getattr(settings, table).grace_seconds, DRAIN_SECONDS))
    if settings.prefect.api_url:
        env["HORAE_PREFECT__API_URL"] = settings.prefect.api_url.get_secret_value()
    command = (sys.executable, "-m", "horae", "--project", str(settings.project), COMMANDS[name], *arguments)

    async def ready() -> bool:
        return await asyncio.to_thread(_lives, health_port)

    return Part(name=name, command=command, cwd=settings.project, env=env, ready=ready, needs=needs, ends_all=True)


def _lives(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/health/live", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
