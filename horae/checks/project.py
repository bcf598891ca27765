"""The check of a whole project, which `horae check` runs. It imports neither Prefect nor a broker's client."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from horae.checks.checklist import check_job
from horae.checks.fit_rules import misfits
from horae.checks.import_cost import LIMIT, slow_imports
from horae.checks.project_rules import IGNORED_CODE, PROVIDER_TABLE, SLOW_IMPORT, UNKNOWN_PROVIDER
from horae.checks.provider_rules import misrouted, signing_faults, unmet_needs
from horae.errors import InvalidSettings, unknown
from horae.findings import Finding, Level, Source
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.rules import DST_DIFFERENCE, FLOW_SCHEDULE, NO_ENGINE
from horae.project.loading import job_files, load, module_of
from horae.project.probed import Probed
from horae.project.probing import probe
from horae.project.registry import Registry
from horae.queues.configured import configured
from horae.queues.providers import names
from horae.settings import FILE as SETTINGS_FILE
from horae.settings import Settings
from horae.store.values import Routes

HORIZON = timedelta(days=365)
"""The period in which Prefect's fires are compared with Horae's."""
DATES_SHOWN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The number of checked jobs, and the findings."""

    jobs: int
    findings: Sequence[Finding]
    """Ordered by file and line."""


def check_project(
    settings: Settings,
    start: datetime,
    ask: Callable[[Sequence[str]], Mapping[str, Sequence[float]]] = lambda jobs: {},
    look: Callable[[Registry], Sequence[Finding]] = lambda registry: (),
    probed: Mapping[str, Probed] | None = None,
    routes: Callable[[], Routes | None] = lambda: None,
) -> Checked:
    """All findings on a project; `start` begins the year whose fires are compared.

    `ask`: how many seconds the latest settled runs of these jobs took, by job, as far as that can be said. `look`: what
    is deployed at Prefect beside what the files say. `probed`: what `probe` said of the job files; None: it is asked
    now. `routes`: where runs wait and where they go; None: the store does not say.
    """
    probed = probe(settings) if probed is None else probed
    registry = load(settings, probed)
    findings = [*registry.problems, *_settings(settings)]
    for job in registry:
        deployment = registry.deployments.get(job.name)
        findings += check_job(job, deployment.flow if deployment else None, settings.folders.names)
    findings += misfits(settings, registry, ask([job.name for job in registry if job.schedule]))
    findings += unmet_needs(settings, registry)
    findings += _imports(settings, registry, probed)
    findings += _differences(registry, start)
    findings += look(registry)
    if found := routes():
        findings += misrouted(settings, registry, found)
    findings = [one for one in findings if one.level is Level.ERROR or one.code not in settings.check.ignore]
    findings += _ignored(settings)
    ordered = sorted(findings, key=lambda f: (f.file or "", f.line or 0, f.code))
    return Checked(jobs=len(registry.names), findings=ordered)


def _ignored(settings: Settings) -> Iterator[Finding]:
    from horae.checks.reference import all_rules

    levels = {rule.code: rule.level for rule in all_rules()}
    for code in settings.check.ignore:
        if levels.get(code) in (None, Level.ERROR):
            message = (
                f"{code} is an error; only a warning can be turned off"
                if code in levels
                else unknown("code", code, levels)
            )
            yield IGNORED_CODE.finding(f"`ignore` in [check]: {message}", at=Source(file=SETTINGS_FILE, line=1))


def _settings(settings: Settings) -> Iterator[Finding]:
    provider = settings.queue.provider
    if provider not in names():
        yield UNKNOWN_PROVIDER.finding(
            unknown("queue provider", provider, names()), at=Source(file=SETTINGS_FILE, line=1)
        )
    try:
        configured(settings)
    except InvalidSettings as error:
        yield PROVIDER_TABLE.finding(error.message, at=Source(file=SETTINGS_FILE, line=1))
    yield from signing_faults(settings)


def _imports(settings: Settings, registry: Registry, probed: Mapping[str, Probed]) -> Iterator[Finding]:
    found = {module_of(folder, path): f"{folder}/{path.name}" for folder, path in job_files(settings)}
    # Files with a quick import are done. Measuring the others, and finding the import to blame, takes longer.
    tried = {module: probed.get(module, Probed()) for module in found}
    files = {module: found[module] for module, one in tried.items() if one.ended and (one.took or LIMIT) >= LIMIT}
    python_jobs = (*registry.by_tier(Tier.ONEIRIC), *registry.by_tier(Tier.APSCHEDULER))
    jobs = {job.source.file: job for job in python_jobs if job.source}
    for cost in slow_imports(settings, list(files)):
        file = files[cost.module]
        job: Job | None = jobs.get(file)
        blame = "the file's own code" if cost.blamed == cost.module else cost.blamed
        message = (
            f"{file} takes {_millis(cost.total)} to import (allowed: {_millis(LIMIT)}); {blame} takes "
            f"{_millis(cost.blamed_cost)} of it"
        )
        yield SLOW_IMPORT.finding(message, job=job.name if job else None, at=Source(file=file, line=1))


def _millis(duration: timedelta) -> str:
    return f"{duration / timedelta(milliseconds=1):.0f} ms"


def _differences(registry: Registry, start: datetime) -> Iterator[Finding]:
    from horae.prefect.cron_differences import differences
    from horae.prefect.cron_engine import NoEngine

    for name, deployment in registry.deployments.items():
        for item in deployment.schedules:
            if item.cron is None or not item.active or deployment.paused:
                continue
            try:
                found = differences(item.cron, item.timezone, start, start + HORIZON)
            except NoEngine as error:
                yield NO_ENGINE.finding(error.message, job=name, at=item.at)
                return
            if found and found[0].never:
                yield FLOW_SCHEDULE.finding(f"{name}: {found[0]}", job=name, at=item.at)
            elif found:
                shown = "; ".join(str(difference) for difference in found[:DATES_SHOWN])
                more = f"; and {len(found) - DATES_SHOWN} more" if len(found) > DATES_SHOWN else ""
                yield DST_DIFFERENCE.finding(f"{name}: {shown}{more}", job=name, at=item.at)
