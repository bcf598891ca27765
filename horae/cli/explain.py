"""`horae explain JOB`: why a job belongs to its scheduler, its findings, and its next fires."""

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
    """Oneiric's ranking of the providers, the chosen one first; None for a job without a queue."""
    move: Move | None
    """The move record in the store that applies to its runs, before the code."""
    fires: list[datetime]


def command(context: typer.Context, job: JobName, json: Json = False) -> int:
    """Show why a job is on its scheduler, the findings on it, the provider of its runs, and its next five fires.

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
    """The answer of Oneiric's resolver; it asks no broker. A move record comes before the job's provider, and that
    before every ranking.
    """
    from horae.queues.opened import router_of

    router = router_of(settings)
    chosen, why = router.of(job), ""
    if move:
        chosen, why = move.provider, f"a move record of {clock.isoformat(move.at)} names this provider"
    elif job.provider:
        chosen, why = job.provider, "the job names this provider"
    ranked = {str(entry["provider"]): list(entry["reasons"]) for entry in router.explain(job.needs)["ordered"]}
    for name in router.names:
        if lacking := router.lacking(name, job.needs):
            ranked[name] = [f"does not offer {lacking}, which the job needs"]
    if refused := router.refusal(chosen):
        ranked[chosen] = [f"{why}, but its runs wait: {refused}"]
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
        needs = f"; the job needs {', '.join(sorted(explanation.job.needs))}" if explanation.job.needs else ""
        _head(f"Queue providers, in the order of Oneiric{needs}")
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
