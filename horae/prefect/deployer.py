"""`prefect deploy`, except that what has not changed is not written, and that a write loses no fire.

A program of its own, because it imports Prefect: `python -m horae.prefect.deployer --all --prefect-file FILE`. It is
Prefect's own command in all else; only the step that writes a deployment is held back, compared and repaired.
"""

import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from horae.prefect.api import PrefectApi
from horae.prefect.near_fires import make_again, wait_past

WRITTEN, UNCHANGED = "written", "unchanged"
LINE = "horae: {address} is {what}"
"""What is printed of each deployment, for people and for `horae up`."""


def main(arguments: Sequence[str]) -> None:
    """Run `prefect deploy` with these arguments in this process; it ends as Prefect's command does."""
    from prefect.deployments.runner import RunnerDeployment

    original = RunnerDeployment.aapply
    setattr(RunnerDeployment, "apply", _careful(original))  # noqa: B010 - mypy refuses the plain assignment
    sys.argv = ["prefect", "--no-prompt", "deploy", *arguments]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def _careful(original: Callable[..., Any]) -> Callable[..., Any]:
    async def apply(self: Any, schedules: list[dict[str, Any]] | None = None, *arguments: Any, **options: Any) -> UUID:
        async with PrefectApi(os.environ["PREFECT_API_URL"], os.environ.get("PREFECT_API_KEY")) as prefect:
            found = await prefect.deployment_json(self.full_name)
            changed = differences(self, schedules, found) if found else ["it is new"]
            if found and not changed:
                _say(self.full_name, UNCHANGED)
                return UUID(found["id"])
            near = await wait_past(prefect, found) if found else None
            id: UUID = await original(self, schedules, *arguments, **options)
            again = await make_again(prefect, near) if near else []
            made = f"; {len(again)} near fires made again" if again else ""
            _say(self.full_name, f"{WRITTEN} ({', '.join(changed)}){made}")
            return id

    return apply


def _say(address: str, what: str) -> None:
    print(LINE.format(address=address, what=what), flush=True)


def differences(wanted: Any, schedules: list[dict[str, Any]] | None, found: Mapping[str, Any]) -> list[str]:
    """The fields in which a RunnerDeployment that is to be applied differs from the deployment's JSON at the server.

    A field that the file leaves out is left alone by Prefect, and is no difference.
    """
    exclude = {"storage", "name", "flow_name", "triggers", "version_type", "schedules"}
    given = wanted.model_dump(mode="json", exclude_unset=True, exclude=exclude)
    given["pull_steps"] = wanted.storage.to_pull_step() if wanted.storage else None
    given["parameter_openapi_schema"] = wanted._parameter_openapi_schema.model_dump(exclude_unset=True)
    limit = found.get("global_concurrency_limit")
    there = {**found, "concurrency_limit": limit and limit["limit"]}
    changed = [key for key, value in given.items() if _differs(key, value, there.get(key))]
    if schedules and _schedules_differ(schedules, found.get("schedules") or []):
        changed.append("schedules")
    return sorted(changed)


def _differs(key: str, given: Any, there: Any) -> bool:
    if key == "tags":
        return sorted(given) != sorted(there or ())
    if key in {"paused", "work_queue_name"} and given is None:
        return False  # the server's own choice stays
    return bool(_bare(given) != _bare(there))


def _bare(value: Any) -> Any:
    """Without what is null or empty, which a server may leave out or put in."""
    if isinstance(value, Mapping):
        return {key: inner for key, one in value.items() if (inner := _bare(one)) not in (None, {}, [])} or None
    if isinstance(value, list):
        return [_bare(one) for one in value] or None
    return value


def _schedules_differ(given: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]) -> bool:
    slugs = [one.get("slug") for one in given]
    if all(slugs) and all(one.get("slug") for one in there):
        by_slug = {one["slug"]: one for one in there}
        return any(
            slug not in by_slug or _schedule_differs(one, by_slug[slug]) for slug, one in zip(slugs, given, strict=True)
        )
    left = list(there)
    for one in given:
        same = next((other for other in left if not _schedule_differs(one, other)), None)
        if same is None:
            return True
        left.remove(same)
    return bool(left)


def _schedule_differs(given: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    if "active" in given and DeploymentScheduleCreate(**given).active != there["active"]:
        return True
    if _bare(given.get("parameters") or {}) != _bare(there.get("parameters") or {}):
        return True
    if (given.get("slug") or None) != (there.get("slug") or None):
        return True
    wanted = DeploymentScheduleCreate(schedule=given["schedule"]).schedule
    try:
        found = type(wanted).model_validate(there["schedule"])
    except ValueError:
        return True
    # Without an anchor in the file Prefect takes the present moment, which is no wish for another one.
    floating = {"anchor_date"} - given["schedule"].model_fields_set
    return bool(wanted.model_dump(exclude=floating) != found.model_dump(exclude=floating))


if __name__ == "__main__":
    main(sys.argv[1:])
