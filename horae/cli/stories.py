"""A run's whole story, for machines and for people: what happened to it in order, and what it got, said and left."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from horae import clock
from horae.cli.output import paint, roughly, state_of, took
from horae.runs import Event, Failure, Run

WIDTH = 14
"""Of the names on the left."""


def timeline(run: Run) -> list[Event]:
    """What happened to it, in order. Where another scheduler ran it, its row says when it began and ended."""
    if run.started_at is None or any(event.what == "claimed" for event in run.story):
        return list(run.story)
    told = [Event(at=run.started_at, what="began", generation=1, note=run.worker)]
    for event in run.story:
        if event.what == "accepted":
            event = replace(event, what="recorded")
        elif event.what == "settled" and run.ended_at:
            event = replace(event, at=run.ended_at)
        told.append(event)
    return sorted(told, key=lambda event: event.at)


def story_shape(events: list[Event]) -> list[dict[str, Any]]:
    """docs/reference/json.md"""
    return [
        {
            "at": clock.isoformat(event.at),
            "offset_seconds": _offset(event, events),
            "what": event.what,
            "generation": event.generation,
            "note": event.note or None,
        }
        for event in events
    ]


def shape(run: Run) -> dict[str, Any]:
    """docs/reference/json.md"""
    return run.as_dict() | {
        "accepted_at": _instant(run.accepted_at),
        "started_at": _instant(run.started_at),
        "ended_at": _instant(run.ended_at),
        "worker": run.worker or None,
        "provider": run.provider or None,
        "context": run.context,
        "metadata": run.metadata,
        "progress": run.progress or None,
        "result": run.result,
        "failure": asdict(run.failure) if run.failure else None,
        "replays": run.replays,
        "replayed_as": run.replayed_as,
        "story": story_shape(timeline(run)),
    }


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
    draw_story(timeline(run))
    draw_values("context", run.context)
    draw_values("metadata", run.metadata)
    if run.result is not None:
        _section("result")
        print(f"  {_plain(run.result)}")
    draw_failure(run.failure)


def draw_story(events: list[Event]) -> None:
    _section("story")
    width = max((len(event.what) for event in events), default=0)
    for event in events:
        offset = f"+{spoken(_offset(event, events))}"
        generation = f"generation {event.generation}  " if event.generation > 1 else ""
        line = f"  {clock.isoformat(event.at):<27}  {offset:>9}  {event.what:<{width}}  {generation}{event.note}"
        print(line.rstrip())


def draw_values(name: str, values: Mapping[str, Any]) -> None:
    if values:
        _section(name)
    for key, value in values.items():
        print(f"  {key} = {_plain(value)}")


def draw_failure(failure: Failure | None) -> None:
    if failure is None:
        return
    _section("error")
    print(paint(f"  {failure.type}: {failure.message}" if failure.message else f"  {failure.type}", "red"))
    for line in failure.traceback.splitlines():
        print(f"  {line}")


def spoken(seconds: float) -> str:
    """An offset: to the millisecond within a minute."""
    return f"{seconds:.3f} s" if seconds < 60 else roughly(timedelta(seconds=seconds))


def _offset(event: Event, events: list[Event]) -> float:
    return round((event.at - events[0].at).total_seconds(), 3)


def _instant(at: datetime | None) -> str | None:
    return clock.isoformat(at) if at else None


def _facts(facts: Mapping[str, str | None]) -> None:
    for name, value in facts.items():
        if value:
            print(f"  {paint(f'{name:<{WIDTH}}', 'dim')}{value}")


def _section(title: str) -> None:
    print(f"\n{paint(title, 'bold', 'underline')}")


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
