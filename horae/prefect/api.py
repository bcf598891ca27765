"""A small client of Prefect's REST API, without importing Prefect.

async with PrefectApi("http://127.0.0.1:4200/api") as prefect:
    deployment = await prefect.deployment_by_name("code-sweep/code-sweep")
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import batched
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

from horae import clock
from horae.errors import HoraeError, UsageError
from horae.prefect.connection import PrefectConnection
from horae.prefect.values import Deployment, Fire, FlowRun, fire_of, flow_run_of, log_line

PAGE = 200
"""The most items that the server returns in one answer."""


class PrefectApi:
    """Raises PrefectUnavailable if the server does not answer, fails or refuses the key, and UsageError with the
    server's message if it refuses a request."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """`url` has the form of PREFECT_API_URL and ends in `/api`."""
        self._http = PrefectConnection(url, api_key)
        self.url = self._http.url
        """The URL without its login, safe to show."""

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def health(self) -> bool:
        """Whether the server answers that it is healthy. False on any error."""
        try:
            return await self._http.ask("GET", "/health", tries=1) is True
        except HoraeError:
            return False

    async def deployment_by_name(self, name: str) -> Deployment | None:
        """The deployment `flow/deployment`, or None."""
        flow, _, deployment = name.partition("/")
        found = await self._http.ask("GET", f"/deployments/name/{quote(flow, safe='')}/{quote(deployment, safe='')}")
        if found is None:
            return None
        return Deployment(id=found["id"], name=name, paused=bool(found.get("paused")), tags=tuple(found["tags"]))

    async def deployment_json(self, id_or_address: str) -> dict[str, Any] | None:
        """A deployment as the API's JSON, by id or by `flow/deployment`; None if it does not exist."""
        flow, slash, deployment = id_or_address.partition("/")
        path = f"name/{quote(flow, safe='')}/{quote(deployment, safe='')}" if slash else id_or_address
        found: dict[str, Any] | None = await self._http.ask("GET", f"/deployments/{path}")
        return found

    async def coming_fires(self, deployment_id: str, until: datetime) -> list[Fire]:
        """The scheduled runs of a deployment that are due after now and up to `until` and have not been picked up."""
        chosen = {
            "deployment_id": {"any_": [deployment_id]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": clock.isoformat(clock.now()), "before_": clock.isoformat(until)},
        }
        body = {"flow_runs": chosen, "sort": "EXPECTED_START_TIME_ASC", "limit": PAGE}
        found = [fire_of(one) for one in await self._http.ask("POST", "/flow_runs/filter", body)]
        return [fire for fire in found if fire]

    async def create_flow_run(
        self,
        deployment_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        name: str | None = None,
        tags: Collection[str] = (),
        scheduled_for: datetime | None = None,
    ) -> str:
        """Create a run of a deployment, for now or for an instant; returns its id. A second call with the same key
        creates nothing and returns the same id."""
        details = {"scheduled_time": clock.isoformat(scheduled_for)} if scheduled_for else {}
        wanted = {
            "parameters": dict(parameters or {}),
            "state": {"type": "SCHEDULED", "state_details": details},
            # Always send a key: the request is repeated while the server is busy, and must not create a second run.
            "idempotency_key": idempotency_key or str(uuid4()),
            "name": name,
            "tags": list(tags),
        }
        body = {key: value for key, value in wanted.items() if value is not None}
        made = await self._http.ask("POST", f"/deployments/{deployment_id}/create_flow_run", body)
        if made is None:
            raise UsageError(f"Prefect has no deployment with the id {deployment_id}")
        return str(made["id"])

    async def flow_run(self, run_id: str) -> FlowRun | None:
        found = await self._http.ask("GET", f"/flow_runs/{run_id}")
        return found and flow_run_of(found)

    async def flow_runs(
        self,
        deployment_ids: Collection[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        started_since: datetime | None = None,
        state_types: Collection[str] = (),
        enough: int | None = None,
    ) -> list[FlowRun]:
        """All runs of these deployments with a planned start from `since` to `until`, both inclusive, oldest first.

        `started_since`: only runs that began then or later. `state_types`: only runs in one of these states. Future
        runs are included, unless `until` excludes them. `enough`: stop after this many runs if at least one is later
        than `since`; the caller can continue from the instant of the last run.
        """
        if not deployment_ids:
            return []
        chosen: dict[str, Any] = {"deployment_id": {"any_": sorted(deployment_ids)}}
        if started_since:
            chosen["start_time"] = {"after_": clock.isoformat(started_since), "is_null_": False}
        if state_types:
            chosen["state"] = {"type": {"any_": sorted(state_types)}}
        runs: dict[str, FlowRun] = {}
        after, offset = since, 0
        while True:
            bounds = {"after_": after and clock.isoformat(after), "before_": until and clock.isoformat(until)}
            chosen["expected_start_time"] = {key: value for key, value in bounds.items() if value}
            body = {"flow_runs": chosen, "sort": "EXPECTED_START_TIME_ASC", "limit": PAGE, "offset": offset}
            page = [flow_run_of(found) for found in await self._http.ask("POST", "/flow_runs/filter", body)]
            runs |= {run.id: run for run in page}
            if len(page) < PAGE or (enough and len(runs) >= enough and page[-1].expected_start != since):
                return sorted(runs.values(), key=lambda run: run.expected_start)
            # Page by instant and not by offset: a run that is deleted meanwhile would shift others out of the pages.
            last = page[-1].expected_start
            after, offset = (after, offset + PAGE) if last == after else (last, 0)

    async def flow_runs_by_id(self, ids: Collection[str]) -> list[FlowRun]:
        """The runs with these ids that still exist."""
        found: list[FlowRun] = []
        for batch in batched(sorted(ids), PAGE, strict=False):
            body = {"flow_runs": {"id": {"any_": list(batch)}}, "limit": PAGE}
            found += [flow_run_of(one) for one in await self._http.ask("POST", "/flow_runs/filter", body)]
        return found

    async def emit_events(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Send events to Prefect's feed, where automations see them. Prefect stores an id only once."""
        if events and await self._http.ask("POST", "/events", list(events), tries=1) is None:
            raise UsageError(f"Prefect at {self.url} does not accept events")

    async def log(self, flow_run_id: str) -> list[str]:
        """The log of a flow run and its tasks, oldest first: instant, level and text of each line."""
        lines: list[str] = []
        while True:
            wanted = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC"}
            page = await self._http.ask("POST", "/logs/filter", {**wanted, "limit": PAGE, "offset": len(lines)})
            lines += [log_line(found) for found in page]
            if len(page) < PAGE:
                return lines

    async def pause_deployment(self, deployment_id: str) -> None:
        """Stop the deployment's schedule until it is resumed. Prefect deletes scheduled runs that have not begun."""
        await self._switch(deployment_id, "pause_deployment")

    async def resume_deployment(self, deployment_id: str) -> None:
        await self._switch(deployment_id, "resume_deployment")

    async def _switch(self, deployment_id: str, how: str) -> None:
        if await self._http.ask("POST", f"/deployments/{deployment_id}/{how}") is None:
            raise UsageError(f"Prefect has no deployment with the id {deployment_id}")

    async def cancel(self, flow_run_id: str) -> FlowRun | None:
        """Cancel a flow run. Returns the run after the request; None if it does not exist. A settled run is unchanged.

        Prefect cancels a run that has not begun immediately, and asks the worker to end a running one.
        """
        found = await self.flow_run(flow_run_id)
        if found is None or found.settled:
            return found
        await self.set_state(flow_run_id, "CANCELLING", "Cancelling", "requested with horae cancel")
        return await self.flow_run(flow_run_id)

    async def set_state(self, flow_run_id: str, type: str, name: str, message: str) -> str:
        """Propose a state for a flow run. Returns the type of its state afterwards; empty if the run was deleted."""
        state = {"type": type, "name": name, "message": message}
        answer = await self._http.ask("POST", f"/flow_runs/{flow_run_id}/set_state", {"state": state})
        return str(((answer or {}).get("state") or {}).get("type") or "")

    async def last_heartbeat(self, flow_run_id: str) -> datetime | None:
        """The time of a flow run's last heartbeat; None if it sent none."""
        wanted = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{flow_run_id}"]},
            "order": "DESC",
        }
        found = (await self._http.ask("POST", "/events/filter", {"filter": wanted, "limit": 1}))["events"]
        return clock.parse_instant(found[0]["occurred"]) if found else None

    async def crash_unfinished(self, message: str) -> int:
        """Mark every unfinished flow run as Crashed, which frees its concurrency slots; returns the number of runs.

        Use it only on a server that this project started, when no process of such a run can be alive.
        """
        began = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}, "limit": PAGE}
        found = await self._http.ask("POST", "/flow_runs/filter", began)
        for flow_run in found:
            await self.set_state(flow_run["id"], "CRASHED", "Crashed", message)
        return len(found)

    async def online_workers(self, pool: str) -> list[str] | None:
        """The names of a work pool's workers that Prefect counts as online; None if the pool does not exist."""
        names: list[str] = []
        offset = 0
        while True:
            body = {"limit": PAGE, "offset": offset}
            page = await self._http.ask("POST", f"/work_pools/{quote(pool, safe='')}/workers/filter", body)
            if page is None:
                return None
            names += [str(worker["name"]) for worker in page if worker["status"] == "ONLINE"]
            if len(page) < PAGE:
                return names
            offset += PAGE

    async def late_flow_runs(self) -> int:
        """The number of flow runs in the state `Late`, which should have begun and did not."""
        wanted = {"flow_runs": {"state": {"name": {"any_": ["Late"]}}}}
        return int(await self._http.ask("POST", "/flow_runs/count", wanted))

    async def default_job_template(self, pool_type: str = "process") -> dict[str, Any]:
        """The server's base job template for a type of work pool."""
        packages = await self._http.ask("GET", "/collections/views/aggregate-worker-metadata")
        for workers in packages.values():
            if pool_type in workers:
                return dict(workers[pool_type]["default_base_job_configuration"])
        raise UsageError(f"this Prefect server does not know work pools of type {pool_type!r}")

    async def ensure_work_pool(
        self, name: str, base_job_template: Mapping[str, Any], *, pool_type: str = "process", update: bool = False
    ) -> str:
        """Create the work pool if it does not exist; returns its type. With `update`, also set this template on an
        existing pool.
        """
        found = await self._http.ask("GET", f"/work_pools/{quote(name, safe='')}")
        template = {"base_job_template": dict(base_job_template)}
        if found is None:
            await self._http.ask(
                "POST", "/work_pools/", {"name": name, "type": pool_type, **template}, conflict_is_fine=True
            )
        elif update and found["base_job_template"] != template["base_job_template"]:
            await self._http.ask("PATCH", f"/work_pools/{quote(name, safe='')}", template)
        return str(found["type"]) if found else pool_type

    async def ensure_automation(self, definition: Mapping[str, Any]) -> None:
        """Create the automation if none has its name."""
        wanted = {"automations": {"name": {"any_": [definition["name"]]}}}
        if not await self._http.ask("POST", "/automations/filter", wanted):
            await self._http.ask("POST", "/automations/", definition)
