"""Runs the weekly report as a flow on a real Prefect API and a real store, and prints what became of it as JSON, on the
last line.

A process of its own, as sweep_scenarios.py is.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import Any

from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness

from flows import report_generation as file
from horae.clock import monotonic
from horae.jobs.policies import Tier
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State, fire_id
from horae.settings import StoreSettings
from horae.store.redis import RedisStore

UNTIL = datetime(2026, 11, 23, tzinfo=UTC)
JOBS = {"nightly": Tier.PREFECT, "backup": Tier.ONEIRIC, **{f"ping-{n}": Tier.APSCHEDULER for n in range(8)}}
MANY = 100_000
SPAN = timedelta(days=7) / (MANY // len(JOBS))


def run(**parameters: Any) -> dict[str, Any]:
    """One run of the flow: its state, its result or error, how long it took, and what it left."""
    began = monotonic()
    state: Any = file.report_generation(**parameters, return_state=True)
    result = state.result(raise_on_failure=False)
    artifact: Any = Artifact.get("report-generation")
    latest = Path(".horae/reports/report-generation/latest.json")
    return {
        "state": state.type.value,
        "result": result if isinstance(result, dict) else f"{type(result).__name__}: {result}",
        "seconds": monotonic() - began,
        "markdown": artifact.data if artifact else None,
        "latest": json.loads(latest.read_text()) if latest.exists() else None,
    }


def week(namespace: str) -> Iterator[Run]:
    """MANY fires over all jobs, of which one in a hundred failed and one in fifty was missed."""
    dice = random.Random(1)
    for number in range(MANY // len(JOBS)):
        for job, tier in JOBS.items():
            at = UNTIL - SPAN * (number + 1)
            luck = dice.random()
            state = State.FAILED if luck < 0.01 else State.MISSED if luck < 0.03 else State.RAN
            began = at + timedelta(seconds=dice.random())
            missed = state is State.MISSED
            yield Run(
                run_id=fire_id(namespace, job, at),
                job=job,
                tier=tier,
                cause=Cause.SCHEDULE,
                state=state,
                scheduled_for=at,
                reason=Reason.SUPERSEDED if missed else None,
                attempts=0 if missed else 1,
                accepted_at=at,
                started_at=None if missed else began,
                ended_at=began + timedelta(seconds=1 + 4 * dice.random()),
                failure=Failure(type="ValueError", message="<b>no</b> such | thing") if state is State.FAILED else None,
            )


async def fill(url: str, namespace: str) -> None:
    store = RedisStore(url, namespace, StoreSettings(keep_runs_per_job=MANY, keep_runs_days=3650))
    try:
        for batch in batched(week(namespace), 1000, strict=False):
            await store.ledger.record(batch)
    finally:
        await store.close()


def configure(**variables: str) -> None:
    for name, text in variables.items():
        os.environ[f"HORAE_{name}"] = text


def main(url: str, namespace: str) -> None:
    seen: dict[str, Any] = {}
    with prefect_test_harness(server_startup_timeout=60):
        seen["no store"] = run()
        configure(STORE__URL=url, NAMESPACE=namespace)
        seen["empty"] = run(until=UNTIL.isoformat())
        began = monotonic()
        asyncio.run(fill(url, namespace))
        seen["filled"] = monotonic() - began
        seen["many"] = run(until=UNTIL.isoformat())
        seen["week before"] = run(until=(UNTIL - timedelta(days=7)).isoformat())
        seen["days"] = run(days=2, until=UNTIL.isoformat())
        seen["bad days"] = run(days=0)
        configure(STORE__URL="redis://127.0.0.1:1/0")
        file.read_ledger = file.read_ledger.with_options(retries=0)
        seen["away"] = run()
    print("\n" + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
