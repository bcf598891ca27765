"""Does the Prefect of this interpreter do what Horae needs? Server, deploy, scheduled runs, a run's end.

A program, so that it can run under another environment's interpreter: `python prefect_guard.py FOLDER`.
"""

import asyncio
import sys
from pathlib import Path

from horae import clock
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.values import FlowRun
from horae.up.parts import Parts
from horae.up.prefect_parts import deploy, prepare, server_part, worker_part
from tests.waiting import wait_until

FLOW = """
from prefect import flow

@flow(log_prints=True)
def guarded(word: str = "nothing") -> str:
    print(word)
    return word
"""
FILE = """
name: guarded
pull: []
deployments:
  - name: each-minute
    entrypoint: flows/guarded.py:guarded
    schedules: [{slug: minute, cron: "* * * * *", timezone: UTC}]
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
    work_pool: {name: guard}
"""


async def main(project: Path) -> None:
    (project / "flows").mkdir(parents=True)
    (project / "flows/guarded.py").write_text(FLOW)
    (project / "prefect.yaml").write_text(FILE)
    state, port = project / ".horae", free_port()
    url = f"http://{LOOPBACK}:{port}/api"
    async with Parts(state) as parts, PrefectApi(url) as api:
        await parts.start(server_part(project, state, port))
        await prepare(api, project, "guard", ours=True)
        await deploy(project, state, url)
        found = await api.deployment_by_name("guarded/each-minute")
        assert found, "the deployment is not there"

        async def scheduled() -> list[FlowRun]:
            return [run for run in await api.flow_runs([found.id], since=clock.now()) if run.auto_scheduled]

        await wait_until(scheduled, "scheduled runs", 15)
        await parts.start(worker_part(project, state, "guard", url, needs=("prefect-server",)))
        run_id = await api.create_flow_run(found.id, {"word": "held"})

        async def ended() -> FlowRun | None:
            run = await api.flow_run(run_id)
            return run if run and run.settled else None

        run = await wait_until(ended, "the run's end", 90)
        assert run, "the run is gone"
        # A fire of the schedule may hold the only slot; the run is then skipped, which is an end too.
        assert run.state_type == "COMPLETED" or "concurrency" in run.message.lower(), run
    print("held: server, deploy, scheduled runs, a run's end")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
