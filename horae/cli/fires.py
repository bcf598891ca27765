"""`horae fires [JOB]`: what became of every fire, and of every other run."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer

from horae import clock
from horae.cli.completing import job_names
from horae.cli.following import Question
from horae.cli.options import Json, members_of, when_of
from horae.cli.project import address_of, jobs_of, settings_of, with_store
from horae.errors import StoreUnavailable, UsageError, unknown
from horae.jobs.policies import Tier
from horae.runs import Cause, Run, State, Verdict
from horae.settings import Settings
from horae.store.values import Only

OPEN = "open"
"""Stands for the states of what is not settled."""
VERDICTS = ", ".join((*Verdict, OPEN))
Optional = Annotated[
    str | None, typer.Argument(metavar="[JOB]", help="Only runs of this job.", autocompletion=job_names)
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=0, max=100_000, help="List at most this many, the newest first.")
]
Verdicts = Annotated[
    list[str] | None,
    typer.Option(
        "--verdict",
        metavar="VERDICT",
        help=f"{VERDICTS}; or {OPEN} for runs that are not settled yet. May be repeated.",
    ),
]
Causes = Annotated[
    list[str] | None, typer.Option("--cause", metavar="CAUSE", help=f"{', '.join(Cause)}. May be repeated.")
]
Tiers = Annotated[list[str] | None, typer.Option("--tier", metavar="TIER", help=f"{', '.join(Tier)}. May be repeated.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Only runs since this instant, such as 2026-12-01T02:00:00Z, or since this long ago, such as 24h.",
    ),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="Only runs up to this instant, in the same forms.")
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        "-f",
        help="Follow the runs: print a line for each change of state until Ctrl-C. With --json, JSON lines.",
    ),
]


def command(
    context: typer.Context,
    job: Optional = None,
    verdict: Verdicts = None,
    cause: Causes = None,
    tier: Tiers = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    follow: Follow = False,
    json: Json = False,
) -> int:
    """The ledger, newest first: every fire and every run, and what became of it.

    \b
    horae fires database-backup --since 7d
    horae fires --verdict failed --verdict missed --since 24h --json
    horae fires --follow --tier oneiric
    """
    if follow and until:
        raise UsageError("--follow shows runs from now on, so it excludes --until; leave out one of them")
    question = Question(
        job=job,
        since=when_of("--since", since) if since is not None else None,
        until=when_of("--until", until) if until is not None else None,
        only=Only(
            states=_states(verdict), causes=members_of(Cause, "cause", cause), tiers=members_of(Tier, "tier", tier)
        ),
        limit=limit,
    )
    settings = with_store(settings_of(context))
    question = replace(question, job=address_of(settings, job)) if job else question
    if follow:
        return _follow(settings, question, json)
    runs = asyncio.run(_runs(settings, question))
    if job and not runs:
        jobs_of(settings).get(job)  # a job that was removed still has its runs; a name that never was has none
    if json:
        from horae.cli.output import print_json
        from horae.shapes.runs import run_shape

        print_json([run_shape(run) for run in runs])
    else:
        _draw(runs)
    return 0


def _states(verdicts: list[str] | None) -> frozenset[State]:
    from horae.cli.following import OPEN as OPEN_STATES

    found: set[State] = set()
    allowed = [*(verdict.value for verdict in Verdict), OPEN]
    for name in verdicts or ():
        if name not in allowed:
            raise UsageError(unknown("verdict", name, allowed))
        found |= OPEN_STATES if name == OPEN else {State(name)}
    return frozenset(found)


async def _runs(settings: Settings, question: Question) -> list[Run]:
    from horae.store import connect

    async with connect(settings) as store:
        return await question.ask(store)


def _follow(settings: Settings, question: Question, json: bool) -> int:
    """Until Ctrl-C, which is the way to end it and no failure."""
    from horae.cli.following import json_line, keep_following, line

    if question.job:
        _known(settings, question.job)
    with suppress(KeyboardInterrupt):
        asyncio.run(keep_following(settings, question, json_line if json else line))
    return 0


def _known(settings: Settings, job: str) -> None:
    """Following a name that never was would wait for ever."""
    registry = jobs_of(settings)
    if job in registry:
        return
    try:
        found = asyncio.run(_runs(settings, Question(job=job, since=None, until=None, only=Only(), limit=1)))
    except StoreUnavailable:
        found = []
    if not found:
        registry.get(job)


def _draw(runs: list[Run]) -> None:
    from horae.cli.columns import print_columns
    from horae.cli.output import state_of
    from horae.words import took

    if not runs:
        print("no runs yet that match")
        return
    print_columns(
        ("when", "job", "cause", "state", "took", "attempts", "run id", "error"),
        [
            (
                clock.isoformat(at.replace(microsecond=0)) if (at := run.scheduled_for or run.accepted_at) else "",
                run.job,
                run.cause.value,
                state_of(run),
                took(run.duration_seconds),
                str(run.attempts),
                run.run_id,
                run.failure.words if run.failure else "",
            )
            for run in runs
        ],
        below=("error", "run id", "attempts", "took", "cause"),
    )
