"""`horae explain JOB`: why a job is where it is, what there is to say about it, and what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer

from horae import clock
from horae.checks.checklist import check_job
from horae.cli.next import coming, fire_lines
from horae.cli.options import JobName, Json
from horae.cli.project import jobs_of, settings_of
from horae.cli.routes import PATIENCE, overdue_words, routes_of
from horae.findings import Finding
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.matrix import Decision, decide
from horae.schedules.kinds import wall_zone
from horae.settings import Settings
from horae.store.values import Move, ProviderRuns, Routes

FIRES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Explanation:
    job: Job
    decision: Decision
    findings: list[Finding]
    providers: list[dict[str, Any]] | None
    """Oneiric's ranking, the chosen one first; None for a job that no queue carries."""
    move: Move | None
    """The record in the store that its runs follow, whatever the code says."""
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
        print_json(
            explanation_shape(found.job, found.decision, found.findings, found.providers, found.move, found.fires)
        )
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
    durable = job.tier is Tier.ONEIRIC
    routes = (routes_of(settings) if durable else None) or Routes(runs=[], moves={})
    move = routes.moved(name) if durable else None
    return Explanation(
        job=job,
        decision=decide(job.traits, job.schedule),
        findings=[*here, *check_job(job, deployment.flow if deployment else None, settings.folders.names)],
        providers=_ranking(settings, job, move, routes.runs) if durable else None,
        move=move,
        fires=coming(job, clock.now(), FIRES_SHOWN),
    )


def _ranking(settings: Settings, job: Job, move: Move | None, waiting: Sequence[ProviderRuns]) -> list[dict[str, Any]]:
    """What Oneiric's resolver says; no broker is asked. A move record goes before the job, and the job before every
    ranking."""
    from pydantic import SecretStr

    from horae.queues.opened import open_queues

    if settings.store.url is None:  # as `horae up` would have it
        own = SecretStr(f"redis://127.0.0.1:{settings.store.port}/0")
        settings = settings.model_copy(update={"store": settings.store.model_copy(update={"url": own})})
    router = open_queues(settings).router
    chosen, why = router.choose(), ""
    if move:
        chosen, why = move.provider, f"a move record of {clock.isoformat(move.at)} names this provider"
    elif job.provider:
        chosen, why = job.provider, "the job names this provider"
    ranked = {str(entry["provider"]): list(entry["reasons"]) for entry in router.explain()["ordered"]}
    if refused := router.refusal(chosen):
        ranked[chosen] = [f"{why}, and its runs wait: {refused}"]
    elif why:
        ranked[chosen].insert(0, why)
    for runs in waiting:
        if runs.provider in ranked and runs.overdue > PATIENCE:
            ranked[runs.provider].append(overdue_words(runs))
    found = [{"provider": name, "chosen": name == chosen, "reasons": reasons} for name, reasons in ranked.items()]
    return sorted(found, key=lambda entry: not entry["chosen"])


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
