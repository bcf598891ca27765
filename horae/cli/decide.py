"""`horae decide`: which scheduler is right for a job with these traits and this schedule."""

import sys
from typing import Annotated

import typer

from horae.checks.checklist import review
from horae.cli.options import At, Cron, Every, Json, Zone, schedule_of
from horae.findings import Finding
from horae.jobs.declaring import traits_from
from horae.jobs.policies import Trait
from horae.matrix import Decision
from horae.matrix import decide as walk

Traits = Annotated[
    list[str] | None,
    typer.Option(
        "--trait",
        "-t",
        metavar="NAME",
        help=f"A trait of the job. May be repeated. Traits: {', '.join(trait.value for trait in Trait)}.",
    ),
]


def command(
    trait: Traits = None,
    cron: Cron = None,
    tz: Zone = None,
    every: Every = None,
    at: At = None,
    json: Json = False,
) -> int:
    """Walk the decision matrix to the right scheduler. On a terminal, without options, it asks.

    \b
    horae decide --trait survives_restarts --cron "0 2 * * *"
    horae decide --every 30s --json
    """
    schedule = schedule_of(cron, tz, every, at)
    if not trait and schedule is None and not json and sys.stdin.isatty() and sys.stdout.isatty():
        from horae.cli.questions import ask

        traits, schedule = ask()
    else:
        traits = traits_from(trait or ())
    decision, findings = walk(traits, schedule), review(traits, schedule)
    if json:
        from horae.cli.output import print_json
        from horae.shapes.findings import review_shape
        from horae.shapes.jobs import decision_shape

        print_json(decision_shape(decision) | {"findings": [review_shape(finding) for finding in findings]})
    else:
        _draw(decision, findings)
    return 0


def _draw(decision: Decision, findings: list[Finding]) -> None:
    from horae.cli.findings import print_findings
    from horae.cli.flowchart import print_flowchart
    from horae.cli.output import paint

    print_flowchart(decision)
    print(f"\n{paint(decision.reason, 'bold')}")
    if findings:
        print()
        print_findings(findings)
