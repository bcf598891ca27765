"""A store that is emptied, or loses a key, while a sidecar runs on it: durable fires go on."""

from pathlib import Path

import redis

from horae.redis.keys import key_prefix
from tests.processes import services
from tests.servers import OwnValkey
from tests.waiting import wait_for

JOB = """
from horae import every, job
@job(schedule=every("1s"), traits={"infrastructure"})
async def tick() -> None:
    with open("ticks", "a") as file:
        file.write(".")
"""


def test_durable_fires_go_on_when_the_store_forgot_them(project: Path, tmp_path: Path, namespace: str) -> None:
    (project / "infra/tick.py").write_text(JOB)
    (tmp_path / "valkey").mkdir()
    valkey = OwnValkey(tmp_path / "valkey")
    valkey.start()
    ticks = project / "ticks"

    def count() -> int:
        return len(ticks.read_text()) if ticks.exists() else 0

    try:
        with redis.Redis(port=valkey.port) as client, services(project, valkey.url, namespace) as running:
            sidecar = running.start("sidecar")
            running.start("queue_worker")
            wait_for(lambda: count() >= 2, "the first ticks", 20)
            for blow in (
                client.flushall,
                lambda: client.delete(key_prefix(namespace) + "job:tick"),
                lambda: client.delete(key_prefix(namespace) + "next"),
            ):
                blow()
                before = count()
                wait_for(lambda before=before: count() >= before + 3, "ticks after a loss", 30)  # type: ignore[misc]
            wait_for(lambda: "schedules_lost" in sidecar.log.read_text(), "the sidecar to say so")
    finally:
        valkey.kill()
