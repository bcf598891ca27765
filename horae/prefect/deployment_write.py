"""Writes a deployment if it has changed, at a time without a near fire, and restores fires that the write deleted.

The deployment is a `RunnerDeployment` of Prefect's SDK. Prefect's command line and its SDK both use that class.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from horae.prefect.api import PrefectApi
from horae.prefect.near_fires import make_again, wait_past

UNCHANGED = "unchanged"


async def write(
    prefect: PrefectApi,
    wanted: Any,
    schedules: Sequence[Mapping[str, Any]] | None,
    apply: Callable[[], Awaitable[UUID]],
) -> tuple[UUID, str]:
    """Call `apply` to write the deployment if it has changed. Returns its id, and a phrase that says what was done.

    `schedules`: in the form of `RunnerDeployment.apply`. None: the schedules of `wanted`.
    """
    found = await prefect.deployment_json(wanted.full_name)
    if found is None:
        return await apply(), "written (it is new)"
    changed = differences(wanted, schedules if schedules is not None else _own(wanted), found)
    if not changed:
        return UUID(found["id"]), UNCHANGED
    near = await wait_past(prefect, found)
    id = await apply()
    again = await make_again(prefect, near)
    made = f"; {len(again)} near fires rescheduled" if again else ""
    return id, f"written ({', '.join(changed)}){made}"


def differences(wanted: Any, schedules: Sequence[Mapping[str, Any]] | None, found: Mapping[str, Any]) -> list[str]:
    """The fields in which a RunnerDeployment differs from the deployment's JSON at the server.

    Prefect does not change a field that is not given, so a missing field is no difference.
    """
    _infer_version(wanted)
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


def _infer_version(wanted: Any) -> None:
    """Set the version that `apply` would write. In a git repository with a remote that is the commit."""
    wanted._get_deployment_version_info(wanted.version_type)


def _own(wanted: Any) -> list[dict[str, Any]]:
    keys = ("active", "parameters", "slug", "replaces")
    return [
        {"schedule": one.schedule, **{key: getattr(one, key) for key in keys if key in one.model_fields_set}}
        for one in wanted.schedules or ()
    ]


def _differs(key: str, given: Any, there: Any) -> bool:
    if key == "tags":
        return sorted(given) != sorted(there or ())
    if key in {"paused", "work_queue_name"} and given is None:
        return False  # the server keeps its own value
    if key == "description" and given is None and there == "None":
        return False  # Prefect's SDK writes an absent value in this form
    return bool(_bare(given) != _bare(there))


def _bare(value: Any) -> Any:
    """The value without null and empty parts, which a server may add or leave out."""
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
    # If the file has no anchor, Prefect uses the current time. That is not a change of the anchor.
    floating = {"anchor_date"} - given["schedule"].model_fields_set
    return bool(wanted.model_dump(exclude=floating) != found.model_dump(exclude=floating))
