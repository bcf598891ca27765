"""Decides which processes are silent, from the state that is kept between runs."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from horae.clock import isoformat, parse_instant
from internal._heartbeat.processes import Beat

EVENTS = "2b1f0f0c-7f0d-5c6e-8d4f-6a3d1c7b9e21"
ABSENCE = timedelta(seconds=30)
"""Three runs of the job. A longer gap between two runs means that the sidecar was down."""
UNTOLD = 100
"""The most events that wait here while Prefect does not answer. The newest are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The known state of one process."""

    since: str
    """The last successful check; before the first one, the start of the watch."""
    silent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A process fell silent, or is alive again."""

    name: str
    silent: bool
    at: str
    since: str
    """The last successful check before the change."""
    detail: str

    def event(self, namespace: str, observer: str) -> dict[str, Any]:
        """The change as an event for Prefect's API. The id is derived from the change, so it is stored only once."""
        import uuid

        what = "silent" if self.silent else "alive"
        return {
            "id": str(uuid.uuid5(uuid.UUID(EVENTS), f"{namespace}/{observer}/{self.name}/{what}/{self.since}")),
            "occurred": self.at,
            "event": f"horae.process.{what}",
            "resource": {
                "prefect.resource.id": f"horae.process.{self.name}",
                "prefect.resource.name": self.name,
                "horae.namespace": namespace,
            },
            "payload": {"process": self.name, "observer": observer, "last_seen": self.since, "detail": self.detail},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """The state that the next run reads. Instants are ISO 8601 in UTC."""

    looked_at: str = ""
    processes: Mapping[str, Seen] = field(default_factory=dict)
    untold: Sequence[Change] = ()
    """Changes that Prefect has not accepted yet."""
    pinged: str = ""
    """The kind of the last accepted ping: success, fail or log."""
    pinged_at: str = ""


def absent(before: State, now: datetime, patience: timedelta) -> bool:
    """Whether the sidecar was down: the last run is longer ago than ABSENCE and `patience`, or there was none."""
    return not before.looked_at or now - parse_instant(before.looked_at) > max(patience, ABSENCE)


def judge(before: State, beats: Sequence[Beat], now: datetime, patience: timedelta) -> tuple[State, list[Change]]:
    """The state after these checks, and the changes.

    A process is silent if its last successful check is older than `patience`. After an absence of the sidecar the
    time starts again, because the state of the process in the meantime is unknown.
    """
    stamp = isoformat(now)
    anew = absent(before, now, patience)
    known: dict[str, Seen] = {}
    changes: list[Change] = []
    for beat in beats:
        seen = before.processes.get(beat.name) or Seen(since=stamp)
        if beat.alive or (anew and not seen.silent):
            after = Seen(since=stamp)
        else:
            after = replace(seen, silent=seen.silent or now - parse_instant(seen.since) > patience)
        if after.silent != seen.silent:
            changes.append(Change(name=beat.name, silent=after.silent, at=stamp, since=seen.since, detail=beat.detail))
        known[beat.name] = after
    untold = (*before.untold, *changes)[-UNTOLD:]
    return replace(before, looked_at=stamp, processes=known, untold=untold), changes


def read_state(path: Path) -> tuple[State, str]:
    """The state of the last run, and the fault if its file is broken. A broken file counts as no state."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return State(), ""
    except OSError as error:
        return State(), f"cannot read {path}: {error.strerror}"
    try:
        found = json.loads(text)
        state = State(
            looked_at=str(found["looked_at"]),
            processes={str(name): Seen(**seen) for name, seen in found["processes"].items()},
            untold=tuple(Change(**change) for change in found["untold"]),
            pinged=str(found["pinged"]),
            pinged_at=str(found["pinged_at"]),
        )
        instants = [state.looked_at, state.pinged_at, *(seen.since for seen in state.processes.values())]
        for instant in filter(None, instants):
            parse_instant(instant)
    except (ValueError, KeyError, TypeError, AttributeError):
        return State(), f"{path} is broken: the watch starts again"
    return state, ""


def write_state(path: Path, state: State) -> None:
    """Replace the state file atomically. If it raises OSError, the old state stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(asdict(state), indent=1))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
