"""Reads prefect.yaml into one flow job per deployment, and reports faults that `prefect deploy` does not report.

document.py reads the YAML and refuses repeated keys; shape.py compares keys and types with those of Prefect.
"""

import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from horae.errors import InvalidJob, UsageError, unknown
from horae.findings import Finding, Rule
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Overlap, Retry, Tier, Trait
from horae.prefect.rules import (
    DEPLOYMENT_NAME,
    DUPLICATE_DEPLOYMENT,
    ENTRYPOINT,
    FLOW_PARAMETERS,
    FLOW_TAG,
    NO_BRAKE,
    NOT_FOLLOWED,
    TEMPLATE,
    UNREAD_FLOW,
    WORK_POOL,
    YAML_IGNORED,
    YAML_UNREADABLE,
)
from horae.prefect.yaml import models
from horae.prefect.yaml.deployment import Deployment, FlowSchedule
from horae.prefect.yaml.document import Entry, Unreadable, parse
from horae.prefect.yaml.flow_schedules import Schedules
from horae.prefect.yaml.flow_source import FlowSource, read_flow
from horae.prefect.yaml.shape import FILE, NAME_BANNED, SKIPS, Shape, is_template
from horae.schedules.making import any_of

TAG = "horae:"
RUN_ON_START, LATEST_ONLY = "run_on_start", "latest_only"
OPTIONS = frozenset({RUN_ON_START, LATEST_ONLY})


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefectFile:
    """A prefect.yaml of a project, and the folder from which it is deployed."""

    path: Path
    base: Path
    """The folder that its entrypoints are relative to. `prefect deploy` must run in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The deployments and findings of a project's files. A deployment with findings is included if it makes a job."""

    deployments: tuple[Deployment, ...] = ()
    findings: tuple[Finding, ...] = ()
    files: tuple[PrefectFile, ...] = ()
    led_to: frozenset[str] = frozenset()
    """Files of the flows of all deployments, also of one that makes no job."""


@dataclass(kw_only=True, slots=True)
class _Found:
    """What the files read so far have."""

    deployments: dict[str, Deployment] = field(default_factory=dict)
    """By address."""
    findings: list[Finding] = field(default_factory=list)
    led_to: set[str] = field(default_factory=set)

    def add(self, shape: Shape, reader: "_Reader") -> None:
        made = reader.deployment()
        self.findings += reader.findings
        if reader.flow_file:
            self.led_to.add(reader.flow_file)
        if made is None:
            return
        address, other = made.job.name, self.deployments.get(made.job.name)
        if other is None:
            self.deployments[address] = made
            return
        there = other.job.source
        place = f"in line {there.line} of {there.file}" if there else "elsewhere"
        message = f"the deployment {address!r} already exists {place}"
        self.findings.append(DUPLICATE_DEPLOYMENT.finding(message, job=address, at=shape.at(reader.entry)))


def read(project: Path, files: Sequence[str] = (FILE,), folder: str = Tier.PREFECT.folder) -> Reading:
    """Read a project's deployment files and the source of their flows. Without files there are no flows.

    `files`: paths or globs, relative to the project. Only the default prefect.yaml may be missing. `folder`: the folder
    of flows, for messages.
    """
    found, read_files = _Found(), []
    for given in files:
        paths = sorted(project.glob(given)) if "*" in given else [project / given]
        for path in paths:
            if path.is_file() or given != FILE:
                read_files.append(_file(project, path, folder, found))
    return Reading(
        deployments=tuple(found.deployments.values()),
        findings=tuple(found.findings),
        files=tuple(read_files),
        led_to=frozenset(found.led_to),
    )


def _file(project: Path, path: Path, folder: str, found: _Found) -> PrefectFile:
    """Read one file, and add what it has."""
    name = path.relative_to(project).as_posix() if path.is_relative_to(project) else path.as_posix()
    shape = Shape(name)
    try:
        # Open it as Prefect does. The YAML parser handles a byte order mark.
        document = parse(path.read_text(encoding="utf-8"))
    except Unreadable as error:
        at = replace(shape.at(None), line=error.line)
        found.findings.append(
            YAML_UNREADABLE.finding(f"{name} cannot be read as YAML: {error}", at=at, remedy=f"Correct it. {SKIPS}")
        )
        return PrefectFile(path=path, base=project)
    except (OSError, UnicodeDecodeError) as error:
        found.findings.append(YAML_UNREADABLE.finding(f"{name} cannot be read: {error}", at=shape.at(None)))
        return PrefectFile(path=path, base=project)
    found.findings += shape.document(document)
    listed = document.root.get("deployments")
    raws = document.raw.get("deployments") if isinstance(document.raw, dict) else None
    pairs = list(zip(listed.list(), raws, strict=True)) if listed and isinstance(raws, list) else []
    base = _base(project, path, [raw for _, raw in pairs])
    for entry, raw in pairs:
        found.add(shape, _Reader(shape, base, folder, entry, raw))
    return PrefectFile(path=path, base=base)


def _base(project: Path, path: Path, raws: Sequence[Any]) -> Path:
    """The project, or the file's own folder if the entrypoints exist there and not in the project."""
    entrypoints = [raw.get("entrypoint") for raw in raws if isinstance(raw, dict)]
    places = [
        one.rpartition(":")[0] for one in entrypoints if isinstance(one, str) and ".py:" in one and "\0" not in one
    ]
    here = any((project / place).is_file() for place in places)
    there = any((path.parent / place).is_file() for place in places)
    return path.parent if there and not here else project


class _Reader:
    """Reads one deployment and collects its findings."""

    def __init__(self, shape: Shape, base: Path, folder: str, entry: Entry, raw: Any) -> None:
        self.shape, self.base, self.folder, self.entry = shape, base, folder, entry
        self.raw: dict[Any, Any] = raw if isinstance(raw, dict) else {}
        given = self.raw.get("name")
        self.name = given if isinstance(given, str) else ""
        self.flow_file = ""
        self.findings: list[Finding] = list(shape.deployment(entry, raw, self.name or None))

    def deployment(self) -> Deployment | None:
        """The deployment, or None if it does not make a job."""
        if not isinstance(self.entry.value, dict):
            return None
        given = self._given()
        flow = self._flow(given.entrypoint or "")
        self.flow_file = flow.file if flow else ""
        traits, options = self._tags()
        schedules = Schedules(self.shape, self.entry, self.raw, self.name)
        schedules.read()
        self.findings += schedules.findings
        self._work_pool()
        self._brake(schedules.found)
        if flow is not None and isinstance(self.raw.get("parameters", {}), dict):
            self.findings += self._parameters(flow, given, RUN_ON_START in options)
        named = self._named()
        if flow is None or not named:
            return None
        try:
            job = self._job(flow, given, traits, options, schedules.found)
        except UsageError as error:
            self._say(NOT_FOLLOWED, error.message)
            return None
        return Deployment(
            job=job,
            flow=flow,
            entrypoint=given.entrypoint or "",
            work_pool=given.work_pool.name if given.work_pool else None,
            schedules=tuple(schedules.found),
            parameters=given.parameters,
            paused=bool(given.paused),
            raw=self.raw,
        )

    def _given(self) -> models.Deployment:
        """The values as Prefect has them. A value that Prefect refuses is left out; it has a finding already."""
        kept = {key: value for key, value in self.raw.items() if isinstance(key, str)}
        while True:
            try:
                return models.Deployment.model_validate(kept)
            except ValidationError as error:
                bad = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
                kept = {key: value for key, value in kept.items() if key not in bad}

    def _say(self, rule: Rule, message: str, entry: Entry | None = None, remedy: str = "") -> None:
        at = self.shape.at(entry or self.entry)
        self.findings.append(rule.finding(message, job=self.name or None, at=at, remedy=remedy))

    def _named(self) -> bool:
        entry = self.entry.get("name")
        banned = sorted(set(NAME_BANNED) & set(self.name))
        if is_template(self.name):
            self._say(TEMPLATE, f"the name {self.name!r} is a template, so Horae cannot follow this flow", entry)
        elif not self.name:
            self._say(DEPLOYMENT_NAME, "a deployment needs a name", entry)
        elif banned:
            self._say(DEPLOYMENT_NAME, f"Prefect refuses {' and '.join(banned)} in the name {self.name!r}", entry)
        else:
            return True
        return False

    def _flow(self, entrypoint: str) -> FlowSource | None:
        given = self.entry.get("entrypoint")
        if is_template(entrypoint):
            self._say(TEMPLATE, f"entrypoint {entrypoint!r} is a template, so Horae cannot know the flow", given)
            return None
        if not entrypoint:
            self._say(ENTRYPOINT, "the deployment has no entrypoint", given)
            return None
        try:
            flow = read_flow(self.base, entrypoint, self.folder)
        except InvalidJob as error:
            self._say(ENTRYPOINT, error.message, given)
            return None
        if flow.unread:
            self._say(UNREAD_FLOW, flow.unread, given)
        if (named := self.raw.get("flow_name")) and named != flow.name:
            message = (
                f"flow_name {reprlib.repr(named)} has no effect, because the flow itself has the name {flow.name!r}"
            )
            self._say(YAML_IGNORED, message, self.entry.get("flow_name"))
        return flow

    def _tags(self) -> tuple[frozenset[Trait], frozenset[str]]:
        given = self.entry.get("tags")
        known = {TAG + trait.value for trait in Trait} | {TAG + option for option in OPTIONS}
        names: set[str] = set()
        for entry in given.list() if given else ():
            tag = "" if isinstance(entry.value, dict | list) else str(entry.value)
            if tag in known:
                names.add(tag.removeprefix(TAG))
            elif tag.lower().startswith(("horae:", "horae_", "horae-")):
                self._say(FLOW_TAG, unknown("tag", tag, known), entry)
        return frozenset(Trait(name) for name in names - OPTIONS), frozenset(names & OPTIONS)

    def _work_pool(self) -> None:
        pool = self.raw.get("work_pool", {})
        if isinstance(pool, dict) and pool.get("name") is None:
            self._say(WORK_POOL, "the deployment names no work pool", self.entry.get("work_pool"))

    def _brake(self, schedules: Sequence[FlowSchedule]) -> None:
        if any(one.active for one in schedules) and self.entry.get("concurrency_limit") is None:
            self._say(NO_BRAKE, "the deployment has a schedule and no concurrency_limit")

    def _parameters(self, flow: FlowSource, given: models.Deployment, run_on_start: bool) -> Iterator[Finding]:
        place, listed = self.entry.get("parameters"), self.entry.get("schedules")
        own = [entry.get("parameters") for entry in (listed.list() if listed else ())]
        for mapping in (place, *own):
            for key, value in mapping.items() if mapping else ():
                if key not in flow.parameters and not flow.takes_any:
                    message = unknown(f"parameter of flow {flow.name!r}", key, flow.parameters)
                    yield FLOW_PARAMETERS.finding(message, job=self.name, at=self.shape.at(value))
        always = set(given.parameters)
        occasions = [always | {key for key, _ in mapping.items()} if mapping else always for mapping in own]
        for there in [*occasions, *([always] if run_on_start else [])]:
            missing = [name for name in flow.required if name not in there]
            if missing:
                message = f"flow {flow.name!r} needs {', '.join(missing)}, but a scheduled run has no value for this"
                yield FLOW_PARAMETERS.finding(message, job=self.name, at=self.shape.at(place or self.entry))
                return

    def _job(
        self,
        flow: FlowSource,
        given: models.Deployment,
        traits: frozenset[Trait],
        options: frozenset[str],
        schedules: Sequence[FlowSchedule],
    ) -> Job:
        active = [item.schedule for item in schedules if item.active and not given.paused]
        description = given.description if isinstance(given.description, str) else ""
        return Job(
            name=f"{flow.name}/{self.name}",
            tier=Tier.PREFECT,
            schedule=None if not active else active[0] if len(active) == 1 else any_of(*active),
            traits=traits,
            description=description or flow.description,
            time_limit=flow.time_limit,
            retry=Retry(retries=max(flow.retries, 0)),
            run_on_start=RUN_ON_START in options,
            catch_up=CatchUp.LATEST if LATEST_ONLY in options else CatchUp.ALL,
            overlap=_overlap(given.concurrency_limit),
            source=self.shape.at(self.entry),
            deployment=f"{flow.name}/{self.name}",
        )


def _overlap(limit: int | models.ConcurrencyLimit | None) -> Overlap:
    if limit is None:
        return Overlap.ALLOW
    strategy = limit.collision_strategy if isinstance(limit, models.ConcurrencyLimit) else None
    return Overlap.SKIP if strategy == models.CollisionStrategy.CANCEL_NEW else Overlap.QUEUE
