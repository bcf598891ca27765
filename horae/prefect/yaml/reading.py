"""prefect.yaml -> one flow job per deployment, and all that `prefect deploy` would not say about the file."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from horae.errors import InvalidJob, unknown
from horae.findings import Finding, Source
from horae.jobs.job import Job
from horae.jobs.policies import Overlap, Retry, Tier, Trait
from horae.prefect.rules import (
    DEPLOYMENT_NAME,
    DUPLICATE_DEPLOYMENT,
    ENTRYPOINT,
    FLOW_PARAMETERS,
    FLOW_TAG,
    NO_BRAKE,
    WORK_POOL,
    YAML_UNREADABLE,
)
from horae.prefect.yaml.deployment import Deployment, FlowSchedule
from horae.prefect.yaml.document import Entry, Unreadable, parse
from horae.prefect.yaml.flow_schedules import read_schedules
from horae.prefect.yaml.flow_source import FlowSource, read_flow
from horae.prefect.yaml.shape import FILE, at, check_deployment, check_document, is_template
from horae.schedules.making import any_of

TAG = "horae:"
RUN_ON_START = "run_on_start"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What was found in a project's prefect.yaml. A deployment with findings is still there if it makes a job."""

    deployments: tuple[Deployment, ...] = ()
    findings: tuple[Finding, ...] = ()


def read(project: Path, folder: str = Tier.PREFECT.folder) -> Reading:
    """Read a project's prefect.yaml, and the source of the flows it names; a project without one has no flows.

    `folder`: where the files of flows are expected.
    """
    path = project / FILE
    if not path.is_file():
        return Reading()
    try:
        document = parse(path.read_text())
    except Unreadable as error:
        finding = YAML_UNREADABLE.finding(f"{FILE} is not YAML: {error}", at=Source(file=FILE, line=error.line))
        return Reading(findings=(finding,))
    except (OSError, UnicodeDecodeError) as error:
        finding = YAML_UNREADABLE.finding(f"{FILE} cannot be read: {error}", at=Source(file=FILE, line=1))
        return Reading(findings=(finding,))
    findings = list(check_document(document))
    deployments: dict[str, Deployment] = {}
    listed = document.root.get("deployments")
    for entry in listed.list() if listed else ():
        read_one = _Reader(project, folder, entry)
        made = read_one.deployment()
        findings += read_one.findings
        if made is None:
            continue
        name, other = made.job.name, deployments.get(made.job.name)
        if other is None:
            deployments[name] = made
        else:
            line = other.job.source.line if other.job.source else 0
            message = f"a deployment named {name!r} is already in line {line}"
            findings.append(DUPLICATE_DEPLOYMENT.finding(message, job=name, at=at(entry)))
    return Reading(deployments=tuple(deployments.values()), findings=tuple(findings))


class _Reader:
    """Reads one deployment and keeps what it finds wrong."""

    def __init__(self, project: Path, folder: str, entry: Entry) -> None:
        self.project, self.folder, self.entry = project, folder, entry
        given = entry.get("name")
        self.name = given.value if given and isinstance(given.value, str) else ""
        self.findings: list[Finding] = list(check_deployment(entry, self.name or None))

    def deployment(self) -> Deployment | None:
        """The deployment, or None when it does not make a job."""
        if not isinstance(self.entry.value, dict):
            return None
        flow = self._flow()
        traits, run_on_start = self._tags()
        schedules, findings = read_schedules(self.entry, self.name)
        self.findings += findings
        pool = self._work_pool()
        self._brake(schedules)
        if flow is not None:
            self.findings += self._parameters(flow, schedules, run_on_start)
        job = self._job(flow, traits, run_on_start, schedules)
        if flow is None or job is None:
            return None
        parameters = self.entry.get("parameters")
        plain = parameters.plain() if parameters and isinstance(parameters.value, dict) else {}
        return Deployment(
            job=job,
            flow=flow,
            entrypoint=self._text("entrypoint"),
            work_pool=pool,
            schedules=schedules,
            parameters=plain,
            paused=self._paused,
        )

    @property
    def _paused(self) -> bool:
        paused = self.entry.get("paused")
        return paused is not None and paused.value is True

    def _text(self, key: str) -> str:
        found = self.entry.get(key)
        return found.value if found and isinstance(found.value, str) else ""

    def _flow(self) -> FlowSource | None:
        given, entrypoint = self.entry.get("entrypoint"), self._text("entrypoint")
        if not entrypoint:
            self.findings.append(ENTRYPOINT.finding("no entrypoint", job=self.name or None, at=at(self.entry)))
            return None
        try:
            if is_template(entrypoint):
                raise InvalidJob(f"entrypoint {entrypoint!r} is a template: nobody can tell which flow it is")
            flow = read_flow(self.project, entrypoint, self.folder)
        except InvalidJob as error:
            self.findings.append(ENTRYPOINT.finding(error.message, job=self.name or None, at=at(given)))
            return None
        if (named := self._text("flow_name")) and named != flow.name:
            message = f"flow_name {named!r} is overruled by the name of the flow itself, {flow.name!r}"
            self.findings.append(ENTRYPOINT.finding(message, job=self.name, at=at(self.entry.get("flow_name"))))
        return flow

    def _tags(self) -> tuple[frozenset[Trait], bool]:
        given = self.entry.get("tags")
        entries = (given,) if given and isinstance(given.value, str) else given.list() if given else ()
        known = {TAG + trait.value for trait in Trait} | {TAG + RUN_ON_START}
        names: set[str] = set()
        for entry in entries:
            tag = str(entry.value)
            if tag in known:
                names.add(tag.removeprefix(TAG))
            elif tag.lower().startswith(("horae:", "horae_", "horae-")):
                message = unknown("tag", tag, known)
                self.findings.append(FLOW_TAG.finding(message, job=self.name or None, at=at(entry)))
        return frozenset(Trait(name) for name in names - {RUN_ON_START}), RUN_ON_START in names

    def _work_pool(self) -> str | None:
        pool = self.entry.get("work_pool")
        name = pool.get("name") if pool else None
        if name is None:
            message = "no work pool is named"
            self.findings.append(WORK_POOL.finding(message, job=self.name or None, at=at(pool or self.entry)))
            return None
        return str(name.value)

    def _brake(self, schedules: tuple[FlowSchedule, ...]) -> None:
        if schedules and self.entry.get("concurrency_limit") is None:
            message = "it is scheduled and has no concurrency_limit"
            self.findings.append(NO_BRAKE.finding(message, job=self.name or None, at=at(self.entry)))

    def _parameters(
        self, flow: FlowSource, schedules: tuple[FlowSchedule, ...], run_on_start: bool
    ) -> Iterator[Finding]:
        given = self.entry.get("parameters")
        listed = self.entry.get("schedules")
        own = [entry.get("parameters") for entry in (listed.list() if listed else ())]
        for mapping in (given, *own):
            for key, value in mapping.items() if mapping else ():
                if key not in flow.parameters and not flow.takes_any:
                    message = unknown(f"parameter of flow {flow.name!r}", key, flow.parameters)
                    yield FLOW_PARAMETERS.finding(message, job=self.name, at=at(value))
        always = {key for key, _ in given.items()} if given else set()
        occasions = [always | {key for key, _ in mapping.items()} if mapping else always for mapping in own]
        for there in [*occasions, *([always] if run_on_start else [])]:
            missing = [name for name in flow.required if name not in there]
            if missing:
                message = f"flow {flow.name!r} needs {', '.join(missing)}, and a run that nobody is asked for has none"
                yield FLOW_PARAMETERS.finding(message, job=self.name, at=at(given or self.entry))
                return

    def _job(
        self,
        flow: FlowSource | None,
        traits: frozenset[Trait],
        run_on_start: bool,
        schedules: tuple[FlowSchedule, ...],
    ) -> Job | None:
        active = [item.schedule for item in schedules if item.active and not self._paused]
        try:
            if not self.name or is_template(self.name):
                raise InvalidJob("a deployment needs a literal name" + (f", not {self.name!r}" if self.name else ""))
            job = Job(
                name=self.name,
                tier=Tier.PREFECT,
                schedule=None if not active else active[0] if len(active) == 1 else any_of(*active),
                traits=traits,
                description=self._text("description"),
                time_limit=None,
                run_on_start=run_on_start,
                overlap=self._overlap(),
                source=at(self.entry),
            )
        except InvalidJob as error:
            self.findings.append(DEPLOYMENT_NAME.finding(error.message, job=self.name or None, at=at(self.entry)))
            return None
        if flow is None:
            return job
        return replace(
            job,
            description=job.description or flow.description,
            time_limit=flow.time_limit,
            retry=Retry(retries=max(flow.retries, 0)),
            deployment=f"{flow.name}/{self.name}",
        )

    def _overlap(self) -> Overlap:
        limit = self.entry.get("concurrency_limit")
        if limit is None:
            return Overlap.ALLOW
        strategy = limit.get("collision_strategy")
        return Overlap.SKIP if strategy and strategy.value == "CANCEL_NEW" else Overlap.QUEUE
