"""Runs the `on_crashed` hooks of a flow run whose process was killed, so that it could not run them itself.

Where nothing can be forked, this is a program: `python -m horae.warm.crashed`.
"""

import asyncio
import inspect
import os
import sys
import traceback
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_flow_run


def run_hooks() -> int:
    """Run the hooks of the flow run PREFECT__FLOW_RUN_ID; returns the exit status. One that raises stops no other."""
    return asyncio.run(_run_hooks(UUID(os.environ["PREFECT__FLOW_RUN_ID"])))


async def _run_hooks(flow_run_id: UUID) -> int:
    async with get_client() as client:
        flow_run = await client.read_flow_run(flow_run_id)
        flow: Any = await load_flow_from_flow_run(flow_run, use_placeholder_flow=False)
    assert flow_run.state
    failed = 0
    for hook in flow.on_crashed_hooks or []:
        try:
            found = hook(flow, flow_run, flow_run.state)
            if inspect.isawaitable(found):
                await found
        except Exception:
            traceback.print_exc()
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(run_hooks())
