"""`horae explain JOB`: why a job is where it is, what there is to say about it, and what comes next."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer

from horae import clock
from horae.checks.checklist import check_job
from horae.cli.next import coming, fire_lines
from horae.cli.options import JobName, Json
from horae.cli.project import jobs_of, settings_of
from horae.errors import UnknownName
from horae.findings import Finding
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.matrix import Decision, decide
from horae.schedules.kinds import wall_zone
from horae.settings import Settings

FIRES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Explanation:
    job: Job
    decision: Decision
    findings: list[Finding]
    providers: list[dict[str, Any]] | None
    """Oneiric's ranking, the chosen one first; None for a job that no queue carries."""
    fires: list[datetime]


def command(context: typer.Context, job: JobName, json: Json = False) -> int:
    """Why a job is on its scheduler, what the checks say of it, where its runs go, and its next five fires.

    \b
    horae explain database-backup
    """
    settings = settings_of(context)
    explanation = explain(settings, job)
    if json:
        from horae.cli.output import print_json
        from horae.shapes.jobs import explanation_shape

        found = explanation
        print_json(explanation_shape(found.job, found.decision, found.findings, found.providers, found.fires))
    else:
        _draw(explanation)
    return 0


def explain(settings: Settings, name: str) -> Explanation:
    """Raises UnknownName."""
    registry = jobs_of(settings)
    job = registry.get(name)
    name = job.name
    deployment = registry.deployments.get(name)
    here = [problem for problem in registry.problems if problem.job in {name, job.short_name}]
    return Explanation(
        job=job,
        decision=decide(job.traits, job.schedule),
        findings=[*here, *check_job(job, deployment.flow if deployment else None, settings.folders.names)],
        providers=_ranking(settings, job) if job.tier is Tier.ONEIRIC else None,
        fires=coming(job, clock.now(), FIRES_SHOWN),
    )


def _ranking(settings: Settings, job: Job) -> list[dict[str, Any]]:
    """What Oneiric's resolver says; nothing connects. A provider that the job names goes before every ranking."""
    from pydantic import SecretStr

    from horae.queues.opened import open_queues

    if settings.store.url is None:  # as `horae up` would have it
        own = SecretStr(f"redis://127.0.0.1:{settings.store.port}/0")
        settings = settings.model_copy(update={"store": settings.store.model_copy(update={"url": own})})
    router = open_queues(settings).router
    refused = ""
    try:
        chosen = router.choose(job.provider)
    except UnknownName as error:
        chosen, refused = router.choose(), error.message
    ranked = [
        {"provider": entry["provider"], "chosen": entry["provider"] == chosen, "reasons": list(entry["reasons"])}
        for entry in router.explain()["ordered"]
    ]
    if job.provider and not refused:
        for entry in ranked:
            if entry["chosen"]:
                entry["reasons"].insert(0, "the job names this provider")
    if refused:
        why = f"the job names this provider, and {refused}; the default provider carries its fires"
        ranked.append({"provider": job.provider, "chosen": False, "reasons": [why]})
    return sorted(ranked, key=lambda entry: not entry["chosen"])


def _draw(explanation: Explanation) -> None:
    from horae.cli.findings import print_findings
    from horae.cli.flowchart import print_flowchart
    from horae.cli.output import paint

    job = explanation.job
    place = f"{job.source.file}:{job.source.line}" if job.source else "declared in code"
    print(f"{paint(job.name, 'bold')}  {job.tier.label}  {paint(place, 'dim')}")
    if job.description:
        print(job.description)
    print(f"{job.schedule or 'runs when asked'}; traits: {', '.join(sorted(job.traits)) or 'none'}")
    _head("Decision")
    print_flowchart(explanation.decision)
    print(f"\n{paint(explanation.decision.reason, 'bold')}")
    _head("Checks")
    print_findings(explanation.findings)
    if not explanation.findings:
        print(paint("ok: no findings", "green"))
    if explanation.providers is not None:
        _head("Queue providers, in the order of Oneiric")
        for entry in explanation.providers:
            mark = "▶" if entry["chosen"] else " "
            print(f"{paint(f'{mark} {entry["provider"]:<12}', 'bold')}{'; '.join(entry['reasons'])}")
    _head("Next fires")
    for line in fire_lines(explanation.fires, wall_zone(job.schedule)):
        print(line)
    if not explanation.fires:
        print("none: the job has no fires by schedule")


def _head(title: str) -> None:
    from horae.cli.output import paint

    print(f"\n{paint(title, 'bold', 'underline')}")
