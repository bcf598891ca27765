"""Raises each group of dead letters that a person must look at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from horae.clock import isoformat, to_millis
from internal._dlq.letters import Letter, mark_of
from internal._dlq.planning import RAISED, Fate

EVENTS = "8f6c9b2e-1d0a-5c3e-9a77-5b2f0e4d6c13"
MOST = 100
"""The most groups, those with the newest letters. The marks of more would not fit into a result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Dead letters with one cause and one fate."""

    cause: str
    job: str
    fate: Fate
    count: int
    newest: datetime
    says: str
    """The message of the newest letter."""

    @property
    def mark(self) -> str:
        stopped = self.fate is Fate.STOPPED
        return stopped_mark(self.job) if stopped else mark_of(f"{self.cause}|{self.fate.name}")

    @property
    def text(self) -> str:
        said = f": {self.says}" if self.says else ""
        return f"{self.count} dead letters, {self.cause} ({self.fate.value}){said}"

    def event(self, namespace: str) -> dict[str, Any]:
        """An event for Prefect's API. Its id is derived from group and newest letter, so it is stored only once."""
        import uuid

        newest = isoformat(self.newest)
        return {
            "id": str(uuid.uuid5(uuid.UUID(EVENTS), f"{namespace}/{self.mark}/{newest}")),
            "occurred": newest,
            "event": "horae.dead_letters.raised",
            "resource": {
                "prefect.resource.id": f"horae.job.{self.job or 'none'}",
                "prefect.resource.name": self.job or "invalid messages",
                "horae.namespace": namespace,
            },
            "payload": {"cause": self.cause, "fate": self.fate.value, "letters": self.count, "newest_says": self.says},
        }


def stopped_mark(job: str) -> str:
    return mark_of(f"{job}|{Fate.STOPPED.name}")


def grouped(letters: Iterable[Letter], fates: Mapping[str, Fate]) -> list[Group]:
    """Group letters by cause and fate. Groups with the newest letters come first."""
    found: dict[tuple[str, Fate], list[Letter]] = {}
    for letter in letters:
        found.setdefault((letter.cause, fates[letter.run_id]), []).append(letter)
    groups = []
    for (cause, fate), members in found.items():
        last = max(members, key=lambda letter: letter.at)
        says = " ".join(last.says.split())[:200]
        groups.append(Group(cause=cause, job=last.job, fate=fate, count=len(members), newest=last.at, says=says))
    return sorted(groups, key=lambda group: group.newest, reverse=True)


def unraised(
    groups: Iterable[Group], marks: Mapping[str, int], proven: Iterable[str]
) -> tuple[list[Group], dict[str, int]]:
    """The groups to raise now, and the marks after it: by group, the newest letter that was raised, in milliseconds.

    A group is raised again when it gets a newer letter. A stopped job is raised only once until one of its replays has
    run; otherwise each test replay would raise it again. `proven`: the jobs whose last replay ran.
    """
    before = {mark: at for mark, at in marks.items() if mark not in {stopped_mark(job) for job in proven}}
    news, after = [], dict(before)
    for group in [group for group in groups if group.fate in RAISED][:MOST]:
        at, known = to_millis(group.newest), before.get(group.mark)
        if known is None or (known < at and group.fate is not Fate.STOPPED):
            news.append(group)
            after[group.mark] = max(at, after.get(group.mark, 0))
    kept = sorted(after.items(), key=lambda item: item[1], reverse=True)[: 2 * MOST]
    return news, dict(kept)
