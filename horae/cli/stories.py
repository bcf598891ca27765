"""Prints the whole story of a run: its events in order, its context, its result and its error."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from horae import clock
from horae.cli.output import paint, state_of
from horae.runs import Failure, Run, timeline
from horae.terminal import one_line
from horae.words import offset, took

WIDTH = 14
"""The width of the names on the left."""


def draw(run: Run) -> None:
    print(f"{paint(run.job, 'bold')}  {paint(*state_of(run))}  {paint(run.run_id, 'dim')}")
    if run.reason:
        print(f"  {run.reason.sentence}")
    duration = took(run.duration_seconds)
    attempts = f"{run.attempts} attempt{'s' * (run.attempts != 1)}"
    _facts(
        {
            "cause": run.cause.value,
            "fire": _instant(run.scheduled_for),
            "due": _instant(run.due if run.due != run.scheduled_for else None),
            "took": f"{duration}, {attempts}" if duration else attempts,
            "worker": run.worker,
            "provider": run.provider,
            "flow run": str(run.metadata.get("name", "")) if "flow_run" in run.metadata else "",
            "replays": run.replays,
            "replayed as": run.replayed_as,
            "reason given": run.metadata.get("replay_reason"),
            "progress": run.progress,
        }
    )
    draw_story(run)
    draw_values("context", run.context)
    draw_values("metadata", run.metadata)
    if run.result is not None:
        _section("result")
        print(f"  {_plain(run.result)}")
    draw_failure(run.failure)


def draw_story(run: Run) -> None:
    """Print the events; each `claimed` with the number of its attempt, as `attempts` counts them."""
    events = timeline(run)
    _section("story")
    width = max((len(event.what) for event in events), default=0)
    attempt = run.attempts - sum(event.what == "claimed" for event in events)
    for event in events:
        attempt += event.what == "claimed"
        after = f"+{offset(event.seconds_after(events[0]))}"
        counted = f"attempt {attempt}  " if event.what == "claimed" else ""
        line = f"  {clock.isoformat(event.at):<27}  {after:>9}  {event.what:<{width}}  {counted}{one_line(event.note)}"
        print(line.rstrip())


def draw_values(name: str, values: Mapping[str, Any]) -> None:
    if values:
        _section(name)
    for key, value in values.items():
        print(f"  {one_line(key)} = {_plain(value)}")


def draw_failure(failure: Failure | None) -> None:
    if failure is None:
        return
    _section("error")
    said = f"{failure.type}: {failure.message}" if failure.message else failure.type
    for line in said.splitlines():
        print(paint(f"  {line}", "red"))
    for line in failure.traceback.splitlines():
        print(f"  {line}")


def _instant(at: datetime | None) -> str | None:
    return clock.isoformat(at) if at else None


def _facts(facts: Mapping[str, str | None]) -> None:
    for name, value in facts.items():
        if value:
            print(f"  {paint(f'{name:<{WIDTH}}', 'dim')}{one_line(str(value))}")


def _section(title: str) -> None:
    print(f"\n{paint(title, 'bold', 'underline')}")


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
