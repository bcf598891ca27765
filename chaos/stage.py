"""What a chaos run plays on: a store, a broker, and two sidecars and two workers, each behind a proxy of its own."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis

from chaos.brokers import STORE_ITSELF, Broker, opened
from chaos.host_clock import HostClock, library
from chaos.plan import Blow, Cut, Plan, Strike
from chaos.record import BROKER, KEY, STORE, Hit
from horae.clock import monotonic
from horae.redis.keys import key_prefix
from tests.processes import Service, Services, Source, services
from tests.proxy import Proxy
from tests.servers import OwnValkey

NAMESPACE = "chaos"
SIDECARS, WORKERS = "sidecars", "workers"
MARK = "CHAOS_RUN"
"""In the environment of every process of this run and of what they start, so that none is overlooked at the end."""


@dataclass(kw_only=True)
class Place:
    """Where one process of a kind is, and its successor once it is killed."""

    kind: str
    proxy: Proxy
    clock: HostClock | None
    """That of its processes; None where none can be set wrong."""
    older: bool = False
    """Its next process is of the revision that runs beside this one."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    service: Service | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables of its processes."""


class Stage:
    def __init__(
        self,
        running: Services,
        store: OwnValkey,
        places: dict[str, list[Place]],
        front_door: Proxy,
        broker: Broker | None,
        home: Source,
        beside: Source | None,
    ) -> None:
        self._running, self._store, self.places, self.front_door = running, store, places, front_door
        self._broker, self._home, self._beside = broker, home, beside
        self._store_lock, self._broker_lock = asyncio.Lock(), asyncio.Lock()
        self.hits: list[Hit] = []
        self.exits: dict[str, int] = {}
        self.stopped: list[float] = []
        self.starts: dict[str, tuple[float, float]] = {}

    async def start(self) -> None:
        await asyncio.gather(*(self._start(place) for kind in self.places.values() for place in kind))

    async def _start(self, place: Place) -> None:
        source = self._beside if self._beside and place.older else self._home
        clock = place.clock.environment if place.clock else {}
        began = monotonic()
        place.service = await asyncio.to_thread(
            self._running.start, place.kind, source, HORAE_STORE__URL=place.proxy.url, **clock, **place.environment
        )
        self.starts[place.service.name] = began, monotonic()

    async def strike(self, strike: Strike) -> None:
        """Until it is over and what was killed has a successor. One blow at a time falls on a place."""
        if strike.blow is Blow.RESTART_STORE:
            async with self._store_lock:
                await self._restart_store()
        elif strike.blow is Blow.LOSE_KEY:
            async with self._store_lock:
                await asyncio.to_thread(self._lose, strike.key)
        elif strike.blow.on_broker:
            async with self._broker_lock:
                await self._strike_broker(strike)
        elif strike.blow is Blow.CUT_FRONT_DOOR:
            await self._cut(self.front_door, "front door", strike)
        else:
            place = self.places[WORKERS if strike.blow.on_worker else SIDECARS][strike.place]
            async with place.lock:
                await self._strike(place, strike)

    async def _strike(self, place: Place, strike: Strike) -> None:
        assert place.service
        name = place.service.name
        if strike.cut:
            await self._cut(place.proxy, name, strike)
        elif strike.blow.steps:
            assert place.clock
            began = monotonic()
            place.clock.move(strike.step)
            self._hit(strike.blow, name, began)
        elif strike.hold:
            began = monotonic()
            place.service.hold()
            await asyncio.sleep(strike.hold)
            place.service.let_go()
            self._hit(strike.blow, name, began)
        else:
            began = monotonic()
            if strike.blow.stops:
                await self._end(place.service)
            else:
                place.service.kill()
            self._hit(strike.blow, name, began)
            place.older = not place.older  # the successor is of the other release: upgrades and ways back
            await self._start(place)

    async def _cut(self, proxy: Proxy, name: str, strike: Strike) -> None:
        began = monotonic()
        if strike.cut is Cut.DROP:
            proxy.drop()
        else:
            proxy.refuse() if strike.cut is Cut.REFUSE else proxy.stall()
            await asyncio.sleep(strike.hold)
            proxy.restore()
        self._hit(strike.blow, name, began)

    async def _strike_broker(self, strike: Strike) -> None:
        assert self._broker
        if strike.cut:
            await self._cut(self._broker.proxy, BROKER, strike)
            return
        began = monotonic()
        if strike.hold:
            self._broker.process.pause()
            await asyncio.sleep(strike.hold)
            self._broker.process.resume()
        else:
            await asyncio.to_thread(self._broker.restart)
        self._hit(strike.blow, BROKER, began)

    async def _restart_store(self) -> None:
        began = monotonic()
        self._store.kill()
        await asyncio.to_thread(self._store.start)
        self._hit(Blow.RESTART_STORE, STORE, began)

    def _lose(self, key: str) -> None:
        began = monotonic()
        with redis.Redis(port=self._store.port) as client:
            client.delete(key_prefix(NAMESPACE) + key)
        self._hit(Blow.LOSE_KEY, f"{KEY}{key}", began)

    def _hit(self, blow: Blow, on: str, began: float) -> None:
        self.hits.append(Hit(blow=blow, on=on, began=began, ended=monotonic()))

    async def end(self, kind: str) -> None:
        """SIGTERM both of a kind."""
        await asyncio.gather(*(self._end(place.service) for place in self.places[kind] if place.service))

    async def _end(self, service: Service) -> None:
        began = monotonic()
        self.exits[service.name] = await asyncio.to_thread(service.terminate)
        self.stopped.append(monotonic() - began)

    @property
    def alive(self) -> set[str]:
        return {place.service.name for kind in self.places.values() for place in kind if place.service}


@asynccontextmanager
async def staged(
    plan: Plan, project: Path, folder: Path, slots: int, home: Source, beside: Source | None
) -> AsyncIterator[Stage]:
    """With store and broker up. Leaving it kills what is still there. The processes are started from `home`; with
    `beside`, one of the two of a kind is started from that.
    """
    async with AsyncExitStack() as stack:
        store = OwnValkey(folder, fsync="always")
        stack.callback(store.kill)
        await asyncio.to_thread(store.start)

        own = plan.provider != STORE_ITSELF
        broker = await stack.enter_async_context(opened(plan.provider, folder)) if own else None
        (project / "horae.toml").write_text(_settings(plan.provider, broker))

        async def proxy() -> Proxy:
            return await stack.enter_async_context(Proxy(store.port))

        variables = _variables(project, plan.lease_seconds, slots)
        running = stack.enter_context(services(project, f"redis://127.0.0.1:{store.port}/0", NAMESPACE, **variables))
        preloaded = library(folder) if any(strike.blow.steps for strike in plan.strikes) else None
        listens = broker.listens if broker else ()

        async def place(kind: str, number: int) -> Place:
            clock = HostClock(folder / f"{kind}-{number}.clock", preloaded) if preloaded else None
            where = listens[number] if kind == "receiver" else {}
            return Place(kind=kind, proxy=await proxy(), clock=clock, older=number == 1, environment=where)

        kinds = {SIDECARS: "sidecar", WORKERS: "receiver" if listens else "queue_worker"}
        places = {role: [await place(kind, number) for number in range(2)] for role, kind in kinds.items()}
        yield Stage(running, store, places, await proxy(), broker, home, beside)


def _variables(project: Path, lease_seconds: float, slots: int) -> dict[str, str]:
    return {
        "HORAE_WORKER__LEASE_SECONDS": str(lease_seconds),
        "HORAE_WORKER__SLOTS": str(slots),
        "HORAE_STORE__KEEP_RUNS_PER_JOB": "1000000",  # the checker wants to see them all
        MARK: mark_of(project),
    }


def _settings(provider: str, broker: Broker | None) -> str:
    lines = [f'provider = "{provider}"', *([f"[queue.{provider}]"] if broker else [])]
    lines += [f'{key} = "{value}"' for key, value in (broker.table if broker else {}).items()]
    return "\n".join(["[queue]", *lines, ""])


def mark_of(project: Path) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(project)))


def left_behind(project: Path) -> list[int]:
    """The pids of processes of this run, and of what they started. Empty where there is no /proc."""
    wanted, found = f"{MARK}={mark_of(project)}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
