"""A store that is full takes no writes: everything waits, nothing is lost or run twice, and it recovers by itself."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.errors import StoreUnavailable
from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import StoreSettings, load
from horae.store import connect
from tests.processes import services
from tests.redis_servers import client_of
from tests.servers import OwnValkey
from tests.waiting import wait_until

PATIENT = '''
import time
from horae import current_run, job

@job(traits={"infrastructure"})
def patient(*, name: str) -> None:
    """Wait until it may go."""
    folder = current_run().project
    (folder / f"{name}-begun").touch()
    while not (folder / f"{name}-go").exists():
        time.sleep(0.05)
'''


@pytest.mark.requires("valkey")
@pytest.mark.timeout(90)
async def test_runs_outlive_a_full_store_in_one_attempt(project: Path, tmp_path: Path, namespace: str) -> None:
    (project / "infra" / "patient.py").write_text(PATIENT.replace("@job(", '@job(overlap="allow", '))
    valkey = OwnValkey(tmp_path)
    valkey.start()
    settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey.url))}
    )
    try:
        with services(project, valkey.url, namespace, HORAE_WORKER__LEASE_SECONDS="1") as running:
            worker = running.start("queue_worker")
            async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
                names = ("ends", "goes-on")
                asked = [(await scheduler.enqueue_workflow("patient", context={"name": name})).run_id for name in names]
                await wait_until(lambda: all((project / f"{name}-begun").exists() for name in names), "both to begin")
                with client_of(valkey.port) as client:
                    client.execute_command("CONFIG", "SET", "maxmemory", "1mb")
                    (project / "ends-go").touch()
                    await wait_until(lambda: "settlements_wait" in worker.log.read_text(), "the settlement to wait")
                    await wait_until(lambda: '"sweeper waits' in worker.log.read_text(), "the leases to run out")
                    with pytest.raises(StoreUnavailable, match="is full"):
                        await scheduler.enqueue_workflow("patient", context={"name": "refused"})
                    client.execute_command("CONFIG", "SET", "maxmemory", "0")
                (project / "goes-on-go").touch()

                async def settled() -> list[Run] | None:
                    rows = [await store.ledger.run(run) for run in asked]
                    found = [row for row in rows if row and row.verdict]
                    return found if len(found) == len(asked) else None

                runs = await wait_until(settled, "both to be settled", 20)
                assert runs
                assert [(run.verdict, run.attempts) for run in runs] == [(Verdict.RAN, 1)] * 2
    finally:
        valkey.kill()
