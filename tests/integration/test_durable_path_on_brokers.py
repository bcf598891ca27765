"""A durable job on each broker that is not the store: real sidecar, real worker, from the schedule to its verdict."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.brokers.nats import NatsServer
from tests.conftest import require
from tests.processes import services
from tests.servers import OwnValkey
from tests.waiting import wait_for

JOB = """
from horae import every, job
@job(schedule=every("1s"), traits={"infrastructure"}, overlap="allow")
async def tick() -> None:
    with open("ticks", "a") as file:
        file.write(".")
"""


@contextmanager
def nats(folder: Path) -> Iterator[tuple[dict[str, str], NatsServer]]:
    server = NatsServer(folder)
    server.start()
    try:
        yield {"HORAE_QUEUE__PROVIDER": "nats", "HORAE_QUEUE__NATS__URL": server.url}, server
    finally:
        server.kill()


BROKERS = {"nats": nats}


@pytest.mark.parametrize("broker", BROKERS)
def test_fires_run_through_a_restart_of_the_broker(project: Path, tmp_path: Path, namespace: str, broker: str) -> None:
    require(broker)
    (project / "infra/tick.py").write_text(JOB)
    (tmp_path / "valkey").mkdir()
    valkey = OwnValkey(tmp_path / "valkey")
    valkey.start()
    ticks = project / "ticks"

    def count() -> int:
        return len(ticks.read_text()) if ticks.exists() else 0

    try:
        with (
            BROKERS[broker](tmp_path / broker) as (settings, server),
            services(project, valkey.url, namespace, **settings) as running,
        ):
            running.start("sidecar")
            running.start("queue_worker")
            wait_for(lambda: count() >= 3, "the first ticks", 30)
            server.kill()
            server.start()
            before = count()
            wait_for(lambda: count() >= before + 3, "ticks after the restart", 30)
    finally:
        valkey.kill()
