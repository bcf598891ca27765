"""Horae reads prefect.yaml as Prefect does: over generated files, an error exactly where Prefect refuses the file."""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.cli.deploy._config import (
    _handle_deprecated_schedule_fields,
    _load_deploy_configs_and_actions,
    _merge_with_default_deploy_config,
)
from prefect.cli.deploy._schedules import _construct_schedules
from prefect.client.schemas.actions import DeploymentCreate, DeploymentScheduleCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import load_flow_from_entrypoint
from prefect.server.schemas.actions import DeploymentCreate as ServerDeploymentCreate
from prefect.utilities.collections import get_from_dict
from prefect.utilities.templating import apply_values
from rich.console import Console

from horae.findings import Level
from horae.prefect.yaml import read

FLOW = "from prefect import flow, task\n\n@flow\ndef sweep(x: int = 1) -> None:\n    ...\n"
SOUND: dict[str, Any] = {
    "name": "one",
    "entrypoint": "flows/a.py:sweep",
    "tags": ["horae:dashboard"],
    "schedules": [{"slug": "nightly", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}],
    "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
    "work_pool": {"name": "horae"},
}
VALUES: tuple[str, ...] = (
    "null", "text", "''", "'5'", "5", "-1", "1.5", "true", "'no'", "'{{ $X }}'", "[]", "[text]", "[1]", "{}", "{a: 1}",
    "2026-01-01", "2026-01-01T00:00:00", "PT1H", "[{}]", "[{a: {b: 1}}]",
)  # fmt: skip
DEPLOYMENT = (
    "name", "version", "version_type", "tags", "description", "schedule", "schedules", "paused", "concurrency_limit",
    "flow_name", "entrypoint", "parameters", "enforce_parameter_schema", "build", "push", "pull", "work_pool",
    "triggers", "x-own",
)  # fmt: skip
POOL = ("name", "work_queue_name", "job_variables", "queue")
LIMIT = ("limit", "collision_strategy", "grace_period_seconds")
SCHEDULE = (
    "cron", "interval", "rrule", "timezone", "anchor_date", "active", "parameters", "slug", "replaces", "day_or", "odd",
)  # fmt: skip
TOP = ("prefect-version", "name", "build", "push", "pull", "deployments", "definitions", "x-common")
SCHEDULES = (
    "{cron: '0 2 * * *'}", "{cron: '0 2 * *', slug: a}", "{cron: '0 0 * * 5L', slug: a}", "{cron: '', slug: a}",
    "{cron: '0 0 31 2 *', slug: a}", "{cron: '0 2 * * * 30', slug: a}", "{cron: '@daily', slug: a}",
    "{interval: 3600}", "{interval: 0, slug: a}", "{interval: '0:30', slug: a}", "{interval: -5, slug: a}",
    "{interval: 3600, anchor_date: 2026-01-01}", "{interval: 3600, anchor_date: 2026-01-01, slug: a}",
    "{interval: 3600, anchor_date: '2026-01-01T00:00:00', slug: a}", "{interval: 3600, anchor_date: 'soon', slug: a}",
    "{interval: 3600, anchor_date: '2026-01-01T00:00:00.123456', slug: a}", "{rrule: 'FREQ=DAILY', slug: a}",
    "{interval: 3600, anchor_date: '1 January 2026', slug: a}", "{interval: 3600, anchor_date: null}",
    "{cron: '0 2 * * *', interval: 60, slug: a}", "{cron: '0 2 * * *', timezone: Europe/Berln, slug: a}",
    "{cron: '0 2 * * *', timezone: '', slug: a}", "{cron: '0 2 1 * 1', day_or: 0, slug: a}",
    "{cron: '0 2 * * *', active: 'false', slug: a}", "{cron: '0 2 * * *', active: 'perhaps', slug: a}",
    "{cron: '0 2 * * *', active: 2, slug: a}", "{schedule: {cron: '0 2 * * *'}, active: true}", "{slug: a}",
    "{cron: '0 2 * * *', parameters: {x: 2}, slug: a}", "text", "'*/2 * * * *'", "{cron: R * * * *, slug: a}",
)  # fmt: skip
NAMES = ("a_b", "rj-x--prod", "with spaces", "A.b", "a/b", "a%b", "a&b", "a<b", "ümläut", "' '", "a|b", "a:b", "[a]")


def loaded(text: str) -> Any:
    return yaml.safe_load(text)


def changed(**values: Any) -> dict[str, Any]:
    return {**deepcopy(SOUND), **values}


def generated() -> Iterator[tuple[str, Any]]:  # noqa: C901
    """What it is about, and a file."""
    for key in TOP:
        for value in VALUES:
            yield f"{key}: {value}", {"deployments": [deepcopy(SOUND)], key: loaded(value)}
    for key in DEPLOYMENT:
        for value in VALUES:
            yield f"deployment {key}: {value}", {"deployments": [changed(**{key: loaded(value)})]}
        yield f"deployment without {key}", {"deployments": [{k: v for k, v in SOUND.items() if k != key}]}
    for section, keys in (("work_pool", POOL), ("concurrency_limit", LIMIT)):
        for key in keys:
            for value in VALUES:
                table = {**SOUND[section], key: loaded(value)}
                yield f"{section} {key}: {value}", {"deployments": [changed(**{section: table})]}
            table = {k: v for k, v in SOUND[section].items() if k != key}
            yield f"{section} without {key}", {"deployments": [changed(**{section: table})]}
    for key in SCHEDULE:
        for value in VALUES:
            schedule = {**SOUND["schedules"][0], key: loaded(value)}
            if key in {"interval", "rrule"}:
                del schedule["cron"]
            if key == "anchor_date":
                schedule = {"slug": "a", "interval": 3600, key: loaded(value)}
            yield f"schedule {key}: {value}", {"deployments": [changed(schedules=[schedule])]}
    for text in SCHEDULES:
        yield f"schedules: [{text}]", {"deployments": [changed(schedules=[loaded(text)])]}
        old = {k: v for k, v in SOUND.items() if k != "schedules"} | {"schedule": loaded(text)}
        yield f"schedule: {text}", {"deployments": [old]}
    for name in NAMES:
        yield f"name {name}", {"deployments": [changed(name=loaded(name))]}
    odd: tuple[Any, ...] = (None, [], "text", 5, {}, {"deployments": [None]}, {"deployments": ["text"]})
    for file in odd:
        yield f"file {file!r}", file


CASES = list(generated())
fill: Callable[..., Any] = apply_values


NOT_AS_WRITTEN = re.compile(
    r"deployment tags: (text|'no'|PT1H)"  # a tag of each letter
    r"|(deployment|schedule) parameters: {a: 1}"  # the flow has no such parameter: its runs fail
    r"|work_pool queue: .*"  # ignored, and looks like work_queue_name
    r"|schedules?: \[?{cron: '0 0 31 2 \*', slug: a}\]?"  # never fires
)
"""Prefect takes these files and does something else than what stands there."""


def prefects_refusal(path: Path) -> str:
    """Why Prefect would not deploy the file, by what `prefect deploy --all` calls; empty when it would."""
    console = Console(file=io.StringIO())
    try:
        configs, _ = _load_deploy_configs_and_actions(path, console=console)
    except Exception as error:  # what Prefect shows as a traceback
        return f"{type(error).__name__}: {error}"
    said = console.file.getvalue()  # type: ignore[attr-defined]
    if said:
        return str(said)
    if "{{" in path.read_text():
        return ""  # what it will be is not known before the deploy
    for config in configs:
        try:
            _deployable(config)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""


def _deployable(config: Mapping[str, Any]) -> None:
    """What `_run_single_deploy` makes of one, up to the request that it sends."""
    given: Any = _handle_deprecated_schedule_fields(_merge_with_default_deploy_config(dict(config)))
    given = fill(given, os.environ, remove_notset=False)
    if not given.get("name") or not given.get("entrypoint"):
        raise ValueError("a name and an entrypoint are needed")
    load_flow_from_entrypoint(given["entrypoint"])
    schedules = _construct_schedules(given, {}, console=Console(file=io.StringIO()), is_interactive=lambda: False)
    given = {key: value for key, value in given.items() if key not in {"schedules", "triggers"}}
    given = fill(given, {}, warn_on_notset=False, skip_prefixes=["ctx."])
    limit = given.get("concurrency_limit")
    options = None
    if isinstance(limit, dict):
        options = {"collision_strategy": limit.get("collision_strategy")}
        if limit.get("grace_period_seconds") is not None:
            options["grace_period_seconds"] = limit["grace_period_seconds"]
        limit = limit.get("limit")
    made = RunnerDeployment(
        name=given["name"],
        flow_name="sweep",
        entrypoint=given.get("entrypoint"),
        work_pool_name=get_from_dict(given, "work_pool.name"),
        work_queue_name=get_from_dict(given, "work_pool.work_queue_name"),
        parameters=given.get("parameters"),
        description=given.get("description"),
        version=given.get("version"),
        version_type=given.get("version_type"),
        tags=given.get("tags"),
        concurrency_limit=limit,
        concurrency_options=options,
        paused=given.get("paused"),
        job_variables=get_from_dict(given, "work_pool.job_variables"),
    )
    if given.get("enforce_parameter_schema") is not None:
        made.enforce_parameter_schema = given["enforce_parameter_schema"]
    sent = DeploymentCreate(
        name=made.name,
        flow_id=UUID(int=4),
        schedules=[DeploymentScheduleCreate(**schedule) for schedule in schedules or []],
        concurrency_limit=made.concurrency_limit,
        tags=made.tags,
        parameters=made.parameters,
        work_queue_name=made.work_queue_name,
    )
    ServerDeploymentCreate.model_validate(sent.model_dump(mode="json", exclude_unset=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("yaml")
    (made / "flows").mkdir()
    (made / "flows/a.py").write_text(FLOW)
    with contextlib.chdir(made), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield made


def test_an_error_is_there_exactly_where_prefect_refuses(folder: Path) -> None:
    """Both directions at once, so that a failure lists all of them."""
    misses, alarms = [], []
    for about, file in CASES:
        (folder / "prefect.yaml").write_text(yaml.safe_dump(file))
        refusal = prefects_refusal(folder / "prefect.yaml")
        errors = [f"{f.code} {f.message}" for f in read(folder).findings if f.level is Level.ERROR]
        if refusal and not errors:
            misses.append(f"{about}: Prefect refuses it: {refusal[:200]}")
        if errors and not refusal and not NOT_AS_WRITTEN.fullmatch(about):
            alarms.append(f"{about}: Prefect takes it; Horae: {errors}")
    assert len(CASES) > 748
    assert (misses, alarms) == ([], [])
