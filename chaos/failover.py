"""Measure what a failover of the store does to a job that fires every 2 s, and what each part of the hole is due to.

Each round starts a primary, a replica and three Sentinels, two sidecars and two workers, and kills the primary. With
--cut, one worker or both are cut off for 8 s around then.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from chaos.front_door import front_door
from chaos.journal import Reader
from chaos.pulse import Fire, pulses
from chaos.sentinel_events import Switches
from chaos.signals import be_stopped_by_signals
from chaos.wires import Wires
from chaos.workload import Workload, write
from horae.clock import monotonic, now
from tests.processes import Services, services
from tests.redis_servers import Watched, watched
from tests.waiting import wait_until

PULSE = Workload(name="pulse", schedule='every("2s")', period_seconds=2)
NAMESPACE = "failover"
BEFORE, AFTER = 2, 4
"""Fires that have begun before the kill, and that fell due after the new primary took over."""
WORKERS = 2
CUTS = ("none", "one", "both")
CUT_SECONDS = 8.0
"""Longer than the lease of 6 s."""
CUT_BEFORE, CUT_AFTER = 3.0, 1.0
"""A worker is cut off at most so long before, or after, the primary dies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """Seconds; all but the first two are of the fire that began latest after its instant."""

    named: float
    """From the death of the primary until the Sentinels named another."""
    hole: float
    """The longest time between two beginnings."""
    late: float
    """From the fire's instant to its job's first line. It is the sum of the parts below."""
    failover: float
    """Until the Sentinels named another primary."""
    dispatch: float
    """Until a sidecar had written the fire: the client finds the primary, and the duty looks again."""
    publish: float
    cut: float
    """While all workers were cut off."""
    deliver: float
    """Until a worker had claimed the run: the client finds the primary, and the duty looks again."""
    redeliver: float
    """From the first claim to the last: the lease of a worker that was cut off ran out."""
    begin: float
    """From the claim to the job's first line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blown:
    """Instants in seconds since the Unix epoch."""

    killed: float
    switched: float
    cut: tuple[float, float] | None = None
    """Since when and until when all workers were cut off."""

    def cut_within(self, since: float, until: float) -> float:
        return max(0.0, min(until, self.cut[1]) - max(since, self.cut[0])) if self.cut else 0.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each kind (default: 5)")
    parser.add_argument("--cut", choices=(*CUTS, "all"), default="all", help="which workers (default: each in turn)")
    parser.add_argument("--silent", action="store_true", help="a cut worker hears nothing, instead of a refusal")
    parser.add_argument("--seed", type=int, default=1, help="of the instants of the blows (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there")
    return parser.parse_args()


async def play(folder: Path, cut: str, silent: bool, dice: random.Random) -> Round:
    project = folder / "project"
    (project / "infra").mkdir(parents=True)
    (project / "horae.toml").write_text("")
    write(project, PULSE)
    with ExitStack() as stack:
        sentinels = await asyncio.to_thread(stack.enter_context, watched(folder / "servers"))
        running = stack.enter_context(services(project, sentinels.url, NAMESPACE))
        async with Wires(sentinels) as first, Wires(sentinels) as second:
            await _start(running, first, second)
            async with front_door(project, sentinels.url, NAMESPACE) as (_, store):
                reader = Reader(project)
                await wait_until(lambda: _begun(reader) >= BEFORE, "the first fires", 40)
                cuts = {"none": [], "one": [first], "both": [first, second]}[cut]
                blown = await _blow(sentinels, cuts, silent, dice)
                await wait_until(lambda: _begun_after(reader, blown.switched) >= AFTER, "fires at the new primary", 60)
                fires = await pulses(store, reader, PULSE.name)
    return judged(fires, blown)


async def _start(running: Services, *wires: Wires) -> None:
    kinds = [("sidecar", {}), ("sidecar", {}), *(("queue_worker", {"HORAE_STORE__URL": one.url}) for one in wires)]
    await asyncio.gather(*(asyncio.to_thread(running.start, kind, **settings) for kind, settings in kinds))


def _begun(reader: Reader) -> int:
    reader.fresh()
    return sum(line.what == "begin" for line in reader.lines)


def _begun_after(reader: Reader, wall: float) -> int:
    reader.fresh()
    due = {line.scheduled_for for line in reader.lines if line.what == "begin"}
    return sum(instant is not None and Fire.seconds(instant) > wall for instant in due)


async def _blow(sentinels: Watched, cut: Sequence[Wires], silent: bool, dice: random.Random) -> Blown:
    """Kill the primary, and cut the workers off around then."""
    kill_at = monotonic() + CUT_BEFORE + dice.uniform(0, PULSE.period_seconds)
    spans: list[tuple[float, float]] = []

    async def cut_off(wires: Wires) -> None:
        await asyncio.sleep(kill_at + dice.uniform(-CUT_BEFORE, CUT_AFTER) - monotonic())
        began = now().timestamp()
        wires.stall() if silent else wires.refuse()
        await asyncio.sleep(CUT_SECONDS)
        wires.restore()
        spans.append((began, now().timestamp()))

    with Switches(sentinels) as switches:
        async with asyncio.TaskGroup() as group:
            for wires in cut:
                group.create_task(cut_off(wires))
            await asyncio.sleep(kill_at - monotonic())
            killed = now().timestamp()
            sentinels.primary.kill()
            switched = await asyncio.to_thread(switches.wait, 30)
    both = (max(began for began, _ in spans), min(ended for _, ended in spans)) if len(spans) == WORKERS else None
    return Blown(killed=killed, switched=switched, cut=both)


def judged(fires: list[Fire], blown: Blown) -> Round:
    begun = sorted(fire.began for fire in fires)
    hole = max(later - earlier for earlier, later in pairwise(begun))
    worst = max((fire for fire in fires if fire.began > blown.killed), key=lambda fire: fire.began - fire.due)
    away = max(worst.due, min(blown.switched, worst.written)) if worst.written > blown.killed else worst.due
    cut = blown.cut_within(worst.published, worst.claimed)
    return Round(
        named=blown.switched - blown.killed,
        hole=hole,
        late=worst.began - worst.due,
        failover=away - worst.due,
        dispatch=worst.written - away,
        publish=worst.published - worst.written,
        cut=cut,
        deliver=worst.claimed - worst.published - cut,
        redeliver=worst.claimed_last - worst.claimed,
        begin=worst.began - worst.claimed_last,
    )


def rows(found: dict[str, list[Round]]) -> Iterator[str]:
    names = list(Round.__slots__)
    yield "| workers cut | rounds | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 2) + "|"
    for cut, rounds in found.items():
        values = {name: [getattr(one, name) for one in rounds] for name in names}
        cells = [f"{median(some):.1f} ({max(some):.1f})" for some in values.values()]
        yield f"| {cut} | {len(rounds)} | " + " | ".join(cells) + " |"


def main() -> int:
    given = arguments()
    be_stopped_by_signals()
    try:
        found = measured(CUTS if given.cut == "all" else [given.cut], given.rounds, given.silent, given.seed)
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return 130
    print("Seconds, median (greatest):\n")
    print("\n".join(rows(found)))
    if given.json:
        values: dict[str, Any] = {cut: [asdict(one) for one in rounds] for cut, rounds in found.items()}
        given.json.write_text(json.dumps(values, indent=2) + "\n")
    return 0


def measured(cuts: Sequence[str], rounds: int, silent: bool, seed: int) -> dict[str, list[Round]]:
    """The rounds of each kind of cut."""
    dice, found = random.Random(seed), dict[str, list[Round]]()
    for cut in cuts:
        for number in range(rounds):
            with tempfile.TemporaryDirectory(prefix="horae-failover-") as folder:
                one = asyncio.run(play(Path(folder), cut, silent, dice))
            found.setdefault(cut, []).append(one)
            said = ", ".join(f"{name} {value:.2f}" for name, value in asdict(one).items())
            print(f"{cut} {number + 1}/{rounds}: {said}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
