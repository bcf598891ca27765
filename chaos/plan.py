"""What a chaos run will do, and when: the same seed, the same plan."""

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from chaos.brokers import FORGETFUL, STORE_ITSELF
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
    STEP_WORKER = "step worker clock"
    STEP_SIDECAR = "step sidecar clock"
    LOSE_KEY = "lose key"
    STOP_WORKER = "stop worker"
    STOP_SIDECAR = "stop sidecar"
    RESTART_BROKER = "restart broker"
    PAUSE_BROKER = "pause broker"
    CUT_BROKER = "cut broker"

    @property
    def on_worker(self) -> bool:
        return self in (Blow.KILL_WORKER, Blow.PAUSE_WORKER, Blow.CUT_WORKER, Blow.STEP_WORKER, Blow.STOP_WORKER)

    @property
    def on_sidecar(self) -> bool:
        return self in (Blow.KILL_SIDECAR, Blow.PAUSE_SIDECAR, Blow.CUT_SIDECAR, Blow.STEP_SIDECAR, Blow.STOP_SIDECAR)

    @property
    def stops(self) -> bool:
        """A rolling restart: SIGTERM, and then its successor."""
        return self in (Blow.STOP_WORKER, Blow.STOP_SIDECAR)

    @property
    def steps(self) -> bool:
        """It sets the host's clock of a process wrong, or right again."""
        return self in (Blow.STEP_WORKER, Blow.STEP_SIDECAR)

    @property
    def on_broker(self) -> bool:
        return self in (Blow.RESTART_BROKER, Blow.PAUSE_BROKER, Blow.CUT_BROKER)

    @property
    def repeats(self) -> bool:
        """A run that it hits may be run again. A wrong clock, a lost key and a broker's trouble are no reason."""
        return not (self.steps or self.on_broker or self is Blow.LOSE_KEY)


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
    (Blow.STEP_WORKER, 1),
    (Blow.STEP_SIDECAR, 1),
    (Blow.LOSE_KEY, 1),
    (Blow.STOP_WORKER, 1),
    (Blow.STOP_SIDECAR, 1),
)
BROKER_DECK = (Blow.RESTART_BROKER, Blow.PAUSE_BROKER, Blow.CUT_BROKER, Blow.CUT_BROKER)
"""Also dealt if the messages go through a broker of their own."""
STEPS = (-86_400.0, -3_600.0, -120.0, 0.0, 120.0, 3_600.0, 86_400.0)
"""Seconds by which a host's clock is ahead afterwards. Internal jobs follow one that is wrong by less than a minute."""
KEYS = ("next", "token", "server", "schema", "gap", "bounds", "newest", "heirs", "last", "counts", "notices", "noticed")
"""Keys whose loss loses no accepted run and no fire, beside those of the schedules: docs/explanation/guarantees.md."""
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
    step: float = 0.0
    """Seconds by which the host's clock of the process is ahead from then on."""
    key: str = ""
    """The key of the store that is lost."""


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
    provider: str = STORE_ITSELF
    """What carries the messages."""

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
    clocks: bool = True,
    provider: str = STORE_ITSELF,
) -> Plan:
    """`beside`: an older revision takes part, which does not survive the jobs of SURVIVED, a lost key or a wrong clock.

    `clocks`: processes can be given a wrong clock here.
    """
    mixture, seconds = workloads(lease_seconds), jobs / jobs_a_second
    if beside:
        mixture = tuple(job for job in mixture if job.how not in SURVIVED and not job.internal)
    deck = [blow for blow, cards in DECK for _ in range(cards) if (clocks and not beside) or not blow.steps]
    if beside:
        deck.remove(Blow.LOSE_KEY)
    if provider != STORE_ITSELF:
        deck += BROKER_DECK
        deck.remove(Blow.STOP_SIDECAR)  # a broker is not affected, and a short plan has room for all other kinds
    if provider == FORGETFUL:
        deck.remove(Blow.RESTART_BROKER)
    keys = [*KEYS, *2 * [f"job:{job.name}" for job in mixture if job.schedule and not job.internal]]
    enqueues, strikes = random.Random(f"enqueues {seed}"), random.Random(f"strikes {seed}")
    return Plan(
        seed=seed,
        provider=provider,
        lease_seconds=lease_seconds,
        seconds=seconds,
        jobs=mixture,
        enqueues=tuple(_enqueue(enqueues, mixture, number / jobs_a_second) for number in range(jobs)),
        strikes=tuple(_strikes(strikes, deck, seconds, seconds_between_kills, lease_seconds, keys)),
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


def _strikes(
    dice: random.Random, deck: list[Blow], seconds: float, between: float, lease_seconds: float, keys: list[str]
) -> Iterator[Strike]:
    at = between * dice.uniform(0.5, 1.5)
    while at < seconds:
        dice.shuffle(deck)
        for blow in deck:
            if at >= seconds:
                return
            yield _strike(dice, blow, at, lease_seconds, keys)
            at += between * dice.uniform(0.5, 1.5)


def _strike(dice: random.Random, blow: Blow, at: float, lease_seconds: float, keys: list[str]) -> Strike:
    longer = round(lease_seconds * dice.uniform(1.2, 2), 3)
    cut = dice.choice(list(Cut)) if "cut" in blow else None
    holds = "pause" in blow or cut in (Cut.REFUSE, Cut.STALL)
    return Strike(
        at=round(at, 3),
        blow=blow,
        place=dice.randrange(2),
        hold=longer if holds else 0.0,
        cut=cut,
        step=dice.choice(STEPS) if blow.steps else 0.0,
        key=dice.choice(keys) if blow is Blow.LOSE_KEY else "",
    )
