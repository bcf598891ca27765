"""What a chaos run will do, and when: the same seed, the same plan."""

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from chaos.workload import SURVIVED, Workload, workloads


class Blow(StrEnum):
    """What is done to a process or to the store."""

    KILL_WORKER = "kill worker"
    KILL_SIDECAR = "kill sidecar"
    PAUSE_WORKER = "pause worker"
    PAUSE_SIDECAR = "pause sidecar"
    CUT_WORKER = "cut worker"
    CUT_SIDECAR = "cut sidecar"
    CUT_FRONT_DOOR = "cut front door"
    RESTART_STORE = "restart store"

    @property
    def on_worker(self) -> bool:
        return self in (Blow.KILL_WORKER, Blow.PAUSE_WORKER, Blow.CUT_WORKER)

    @property
    def on_sidecar(self) -> bool:
        return self in (Blow.KILL_SIDECAR, Blow.PAUSE_SIDECAR, Blow.CUT_SIDECAR)


class Cut(StrEnum):
    """How a connection is cut."""

    DROP = "drop"
    """What there is; the next attempt to connect succeeds."""
    REFUSE = "refuse"
    STALL = "stall"


# Dealt like cards, so that a short plan has every kind too.
DECK = (
    (Blow.KILL_WORKER, 4),
    (Blow.KILL_SIDECAR, 2),
    (Blow.PAUSE_WORKER, 2),
    (Blow.PAUSE_SIDECAR, 1),
    (Blow.CUT_WORKER, 3),
    (Blow.CUT_SIDECAR, 1),
    (Blow.CUT_FRONT_DOOR, 1),
    (Blow.RESTART_STORE, 1),
)
PRIORITIES = ("normal", "normal", "normal", "high", "low")


@dataclass(frozen=True, kw_only=True, slots=True)
class Strike:
    at: float
    """Seconds after the beginning."""
    blow: Blow
    place: int
    """Which of the two."""
    hold: float
    """For how many seconds it lasts; 0 for a kill."""
    cut: Cut | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Enqueue:
    at: float
    job: str
    run_id: str
    priority: str
    delay: float
    """Seconds that the run is to wait in the outbox."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    seed: int
    lease_seconds: float
    seconds: float
    """How long enqueueing takes when nothing falls behind."""
    jobs: tuple[Workload, ...]
    enqueues: tuple[Enqueue, ...]
    strikes: tuple[Strike, ...]

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def plan_of(
    *,
    seed: int,
    jobs: int,
    jobs_a_second: float,
    seconds_between_kills: float,
    lease_seconds: float = 3.0,
    beside: bool = False,
) -> Plan:
    """`beside`: an older revision takes part, which does not survive the jobs of SURVIVED."""
    mixture, seconds = workloads(lease_seconds), jobs / jobs_a_second
    if beside:
        mixture = tuple(job for job in mixture if job.how not in SURVIVED)
    enqueues, strikes = random.Random(f"enqueues {seed}"), random.Random(f"strikes {seed}")
    return Plan(
        seed=seed,
        lease_seconds=lease_seconds,
        seconds=seconds,
        jobs=mixture,
        enqueues=tuple(_enqueue(enqueues, mixture, number / jobs_a_second) for number in range(jobs)),
        strikes=tuple(_strikes(strikes, seconds, seconds_between_kills, lease_seconds)),
    )


def _enqueue(dice: random.Random, mixture: tuple[Workload, ...], at: float) -> Enqueue:
    [job] = dice.choices(mixture, [job.share for job in mixture])
    return Enqueue(
        at=at,
        job=job.name,
        run_id=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        priority=dice.choice(PRIORITIES),
        delay=round(dice.uniform(0.5, 4), 3) if dice.random() < 0.05 else 0.0,
    )


def _strikes(dice: random.Random, seconds: float, between: float, lease_seconds: float) -> Iterator[Strike]:
    at = between * dice.uniform(0.5, 1.5)
    while at < seconds:
        deck = [blow for blow, cards in DECK for _ in range(cards)]
        dice.shuffle(deck)
        for blow in deck:
            if at >= seconds:
                return
            yield _strike(dice, blow, at, lease_seconds)
            at += between * dice.uniform(0.5, 1.5)


def _strike(dice: random.Random, blow: Blow, at: float, lease_seconds: float) -> Strike:
    longer = round(lease_seconds * dice.uniform(1.2, 2), 3)
    cut = dice.choice(list(Cut)) if "cut" in blow else None
    holds = "pause" in blow or cut in (Cut.REFUSE, Cut.STALL)
    place = dice.randrange(2)
    return Strike(at=round(at, 3), blow=blow, place=place, hold=longer if holds else 0.0, cut=cut)
