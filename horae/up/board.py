"""What `horae up` shows: on a terminal one live table of all jobs, elsewhere a line for each event."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.text import Text

from horae.clock import now
from horae.errors import StoreError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local.endpoints import Endpoints
from horae.project.registry import Registry
from horae.runs import Run, State
from horae.shapes.runs import run_shape
from horae.store import Store
from horae.store.values import Latest
from horae.terminal import escaped, one_line
from horae.up.job_table import JobRow, cut, job_lines, packed
from horae.up.parts import PartEvent, PartStatus, What
from horae.urls import shown
from horae.words import colour_of, state_words, took

EVENTS_SHOWN = 6
EVENTS_AT_LEAST = 2
PART_COLOURS = {What.READY: "green", What.STARTING: "cyan", What.DIED: "red", What.KILLED: "red", What.STOPPED: "dim"}


class Board:
    """`live`: draw the table; else only lines on stderr."""

    def __init__(self, registry: Registry, *, live: bool) -> None:
        self.registry = registry
        self.addresses: Endpoints | None = None
        # This very stream, whatever stands in for sys.stdout later: a job's output is captured there.
        self._console = Console(file=sys.stdout if live else sys.stderr)
        self._live: Live | None = None
        if live:
            self._live = _live(self._console)
        self._shown = False
        self._events: list[Text] = []
        self._latest: dict[str, Latest] = {}
        self._paused: frozenset[str | None] = frozenset()
        self._trouble = ""
        self._size = self._console.size

    def __enter__(self) -> Self:
        if self.addresses:
            self._console.print(self._where())
        if self._live:
            self._events = []  # they stand above
            self._live.start()
            self._shown = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._shown = False
            self._live.stop()

    def say(self, text: str, colour: str = "dim") -> None:
        line = Text(f"{now():%H:%M:%S} ", style="dim") + Text(escaped(text), style=colour)
        self._events = [*self._events, line][-EVENTS_SHOWN:]
        if not self._shown:
            self._console.print(line)

    def event(self, event: PartEvent) -> None:
        """Something happened to a part."""
        detail = f": {event.detail}" if event.detail else ""
        self.say(f"{event.part} {event.what.value}{detail}", PART_COLOURS[event.what])

    def settled(self, run: Run) -> None:
        """A run that was asked for has its verdict."""
        failure = f": {run.failure.words}" if run.failure else ""
        self.say(f"{run.job} {run.state.value}{failure}", colour_of(run.state.value))

    async def refresh(self, store: Store, parts: Sequence[PartStatus]) -> None:
        """Draw what the ledger says now. A store that is away leaves what was there before, and is named."""
        try:
            self._latest = await store.ledger.latest(self.registry.names)
            self._paused = await store.pauses.paused()
            self._trouble = ""
        except StoreError as error:
            self._trouble = error.message
        if self._live:
            self._make_room()
            self._live.update(self._draw(parts), refresh=True)

    @property
    def durable_running(self) -> bool:
        """Whether the newest run of a durable job was under way at the last look."""
        newest = (found.newest for found in self._latest.values())
        return any(run and run.tier is Tier.ONEIRIC and run.state is State.RUNNING for run in newest)

    def _make_room(self) -> None:
        """Begin on an empty screen after the terminal changed its size: it wrapped what was there, so that nobody
        can say on how many lines the old table stands."""
        if self._live is None or self._console.size == self._size:
            return
        self._size = self._console.size
        self._live.stop()
        self._console.control(Control.home(), Control.clear())
        if self.addresses:
            self._console.print(self._where())
        self._live = _live(self._console)
        self._live.start()

    def _draw(self, parts: Sequence[PartStatus]) -> Group:
        width = self._console.width
        below = [Text(), *packed([_part(status) for status in parts], width)]
        if self._trouble:
            below.append(Text(escaped(self._trouble), style="red"))
        room = self._console.height - len(below) - 1
        jobs = self._jobs(room - EVENTS_AT_LEAST)
        events = self._events[-max(EVENTS_AT_LEAST, room - len(jobs)) :]
        lines = [*jobs, *below, *events, Text("Ctrl-C stops everything", style="dim")]
        # A line that the terminal wraps is one more than we know of, and leaves a ghost at the next drawing.
        drawn = [self._spelled(cut(_one_line(line), width)) for line in lines]
        # Events give way first, then parts: the jobs stand above them.
        above = drawn[: max(0, self._console.height - 1)]
        return Group(*above[: len(drawn) - 1], drawn[-1])

    def _spelled(self, line: Text) -> Text:
        """In ASCII where the terminal has no UTF-8: three points take three columns."""
        if not self._console.options.ascii_only or not line.plain.endswith("…"):
            return line
        line.right_crop(3)
        return line.append("...")

    def _jobs(self, room: int) -> list[Text]:
        """The table, on at most so many lines: what would be pushed off the screen is counted instead."""
        rows = [self._row(job) for job in sorted(self.registry, key=self._urgency)]
        lines = job_lines(rows, self._console.width)
        if len(lines) <= room:
            return lines
        shown = max(1, (room - 2) * len(rows) // (len(lines) - 1))
        more = f"… and {len(rows) - shown} more: `horae jobs` shows all"
        return [*job_lines(rows[:shown], self._console.width), Text(more, style="dim")]

    def _urgency(self, job: Job) -> int:
        """What fails comes first, then what runs, then all others, in their order: the end may not be shown."""
        latest = self._latest.get(job.name)
        if latest and latest.settled and latest.settled.state is State.FAILED:
            return 0
        return 1 if latest and latest.newest and not latest.newest.state.settled else 2

    def _row(self, job: Job) -> JobRow:
        latest = self._latest.get(job.name, Latest(newest=None, settled=None))
        settled, newest = latest.settled, latest.newest
        running = newest is not None and not newest.state.settled
        following = job.next_fire(now())
        return JobRow(
            cells=(
                job.name,
                job.tier.label,
                str(job.schedule) if job.schedule else "when asked",
                Text("paused", style="yellow") if self._paused & {job.name, None} else until(following, now()),
                _verdict(settled) if settled else Text("-", style="dim"),
                took(settled.duration_seconds) if settled else "",
            ),
            says=_state(newest) if running and newest else _said(settled),
        )

    def _where(self) -> Text:
        assert self.addresses
        lines = []
        if self.addresses.prefect_api_url:
            lines.append(("Prefect UI", shown(self.addresses.prefect_api_url).removesuffix("/api")))
        for name, url in (("sidecar", self.addresses.sidecar_url), ("queue worker", self.addresses.worker_url)):
            lines.append((name, f"{url}/health  {url}/metrics"))
        return Text("\n").join(Text(f"{name:<13}", style="bold") + Text(url) for name, url in lines)

    def verdicts(self, runs: Sequence[Run], as_json: bool) -> None:
        """The runs of `--once`, on stdout."""
        if as_json:
            json.dump([run_shape(run) for run in runs], sys.stdout, indent=2)
            sys.stdout.write("\n")
            return
        console, width = Console(), max([len(run.job) for run in runs], default=0)
        for run in runs:
            duration = f" in {took(run.duration_seconds)}" if run.duration_seconds is not None else ""
            tries = f", attempt {run.attempts}" if run.attempts > 1 else ""
            line = Text(f"{run.job:<{width}}  {run.tier.label:<13}  ") + _verdict(run) + Text(duration + tries)
            console.print(line, soft_wrap=True)
            if run.failure:
                console.print(Text(escaped(f"  {run.failure.words}"), style="red"), soft_wrap=True)


def _live(console: Console) -> Live:
    return Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def _one_line(line: Text) -> Text:
    """An event may have several: the first of them."""
    return line.split()[0] if "\n" in line.plain else line.copy()


def until(instant: datetime | None, now: datetime) -> str:
    if instant is None:
        return "-"
    left = int((instant - now).total_seconds())
    if left < 60:
        return f"in {max(0, left)} s"
    if left < 3600:
        return f"in {left // 60} min"
    # A weekday alone names a day of this week.
    return f"{instant:%a %H:%M} UTC" if left < 6 * 86_400 else f"{instant:%Y-%m-%d %H:%M} UTC"


def _verdict(run: Run) -> Text:
    return Text(one_line(state_words(run)), style=colour_of(run.state.value))


def _state(run: Run) -> Text:
    return Text(escaped(" ".join([state_words(run), *run.progress.split()])), style=colour_of(run.state.value))


def _said(run: Run | None) -> Text:
    """Why it failed, or what it said last."""
    if run is None:
        return Text()
    said = run.failure.message if run.failure else run.progress
    return Text(escaped(" ".join(said.split())), style="dim")


def _part(status: PartStatus) -> Text:
    again = f" ({status.restarts} restart{'s' * (status.restarts > 1)})" if status.restarts else ""
    return Text(f"● {status.name}{again}", style=PART_COLOURS[status.what])
