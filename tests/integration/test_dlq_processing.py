"""The dead-letter processing on a real Valkey: no replay loop, whatever fails, and nothing twice, whoever is killed."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from horae import Cause, Run, RunContext, State, Tier, Verdict
from horae.errors import StoreUnavailable
from horae.jobs.context import running
from horae.local.ports import free_port
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Failure, new_run_id
from horae.settings import Settings, StoreSettings
from horae.store import Store, connect
from horae.store.values import Only
from internal._dlq.planning import Fate
from internal._dlq.settings import DlqSettings
from internal.dlq_processing import NAME, Findings, dlq_processing, process
from tests.contract.stores import Clock, claim, handed_out, new, settle, steered_store
from tests.processes import ROOT, Services, services
from tests.waiting import wait_for

pytestmark = pytest.mark.requires("valkey")
JOBS = '''
from pathlib import Path

from horae import job


@job(traits={"infrastructure"}, idempotent=True)
async def copy_files(*, number: int = 0) -> None:
    """Copy files, when the other side is there."""
    if not Path("there").exists():
        raise ConnectionRefusedError("the other side is not there")
'''
UNIQUE = '''
from horae import job


@job(traits={"infrastructure"}, idempotent=True, unique_by=())
async def unique_files() -> None:
    """Copy files, one run at a time."""
'''
REFUSED = Failure(type="ConnectionRefusedError", message="the other side is not there")
REPLAYS = Only(causes=frozenset({Cause.REPLAY}))
BEAT = timedelta(minutes=5)


@pytest.fixture
def with_job(project: Path) -> Path:
    (project / "infra" / "copy_files.py").write_text(JOBS)
    (project / "infra" / "unique_files.py").write_text(UNIQUE)
    return project


class World:
    """A store whose clock the test moves, this job every five minutes, and a worker."""

    def __init__(self, store: Store, project: Path, clock: Clock) -> None:
        self.store, self.clock, self.settings, self.own = store, clock, Settings(project=project), DlqSettings()
        self.raised: list[str] = []
        self.replays_at_once: list[int] = []

    async def die(self, count: int, **fields: Any) -> None:
        """So many runs that failed because the other side was not there."""
        await self.store.outbox.accept(
            [new("copy-files", context={"number": number}, **fields) for number in range(count)]
        )
        await self.work(Verdict.FAILED)

    async def work(self, verdict: Verdict) -> int:
        """The worker runs all that is handed out, and it ends so."""
        done = 0
        while messages := await handed_out(self.store):
            for message in messages:
                failure = REFUSED if verdict is Verdict.FAILED else None
                held = await claim(self.store, message)
                assert await settle(
                    self.store, held, verdict, reason=Reason.RAISED if failure else None, failure=failure
                )
                done += 1
        return done

    async def beat(self) -> Findings:
        """Five minutes later the job runs, and its result is kept, as the sidecar keeps it."""
        self.clock.move(BEAT)
        found = Findings()
        await process(self.store, self.settings, self.own, found, dry_run=False)
        self.raised += [group.text for group in found.news]
        self.replays_at_once.append(sum(fate is Fate.REPLAY for fate in found.plan.fates.values()))
        run = Run(
            run_id=new_run_id(),
            job=NAME,
            tier=Tier.APSCHEDULER,
            cause=Cause.SCHEDULE,
            state=State.RAN,
            scheduled_for=self.clock.at,
            ended_at=self.clock.at,
            result={"raised": found.marks, "untold": []},
        )
        await self.store.ledger.record([run])
        return found

    async def chains(self) -> Counter[str]:
        """How often each piece of work was replayed, by the run that it began with."""
        replays = await self.store.ledger.runs(job="copy-files", only=REPLAYS, limit=10_000)
        replayed = {run.run_id: str(run.replays) for run in replays}

        def first(run: str) -> str:
            while run in replayed:
                run = replayed[run]
            return run

        return Counter(first(run) for run in replayed)


@pytest.fixture
async def world(valkey_url: str, namespace: str, with_job: Path) -> AsyncIterator[World]:
    clock = Clock()
    store = steered_store(valkey_url, namespace, StoreSettings(), clock)
    yield World(store, with_job, clock)
    await store.close()


async def test_work_that_always_fails_is_never_in_a_replay_loop(world: World) -> None:
    """The trap. For a day the other side is away: 12 pieces of work, and 288 runs of this job."""
    await world.die(12)
    for _ in range(288):
        await world.beat()
        await world.work(Verdict.FAILED)
    chains = await world.chains()
    assert max(chains.values()) == world.own.most_each
    assert len(chains) == 12
    assert max(world.replays_at_once) == 1, "while none has run, one is tried at a time"
    tries = [beat for beat, count in enumerate(world.replays_at_once) if count]
    gaps = {later - earlier for earlier, later in pairwise(tries)}
    assert min(gaps) >= world.own.stop_seconds / BEAT.total_seconds(), "after a failure it stops for half an hour"
    assert sum(world.replays_at_once) == 36
    assert world.replays_at_once[-12:] == [0] * 12, "it came to rest"
    assert len([text for text in world.raised if "stopped" in text]) == 1
    assert sum("as often as allowed" in text for text in world.raised) == 12
    assert sum("as often as allowed" in text for text in world.raised[-1:]) == 1


async def test_work_that_fails_and_enqueues_itself_anew_stays_within_the_rate(world: World) -> None:
    """No count can follow it, since each run is a new one; the rate and the stop hold it all the same."""
    await world.die(1)
    for _ in range(72):
        await world.beat()
        if await world.work(Verdict.FAILED):
            await world.die(1)
    assert sum(world.replays_at_once) <= 6 * 3600 / world.own.stop_seconds


async def test_when_the_other_side_is_back_one_is_tried_and_the_rest_follows(world: World) -> None:
    await world.die(50)
    await world.beat()
    assert world.replays_at_once == [1]
    await world.beat()
    assert world.replays_at_once == [1, 0], "what became of the first is not known yet"
    await world.work(Verdict.RAN)
    for _ in range(4):
        await world.beat()
        await world.work(Verdict.RAN)
    assert world.replays_at_once[2:] == [20, 20, 9, 0]
    assert world.raised == []
    assert await world.store.dead_letters.newest() == []


async def test_many_letters_never_exceed_the_rate_of_an_hour(world: World) -> None:
    world.own = DlqSettings(most_an_hour=30, most_at_once=20)
    await world.die(90)
    await world.beat()
    await world.work(Verdict.RAN)
    for _ in range(11):
        await world.beat()
        await world.work(Verdict.RAN)
    assert sum(world.replays_at_once) == 30


async def test_a_pause_holds_letters_back(world: World) -> None:
    await world.die(1)
    await world.store.pauses.pause("copy-files")
    found = await world.beat()
    assert set(found.plan.fates.values()) == {Fate.PAUSED}
    await world.store.pauses.resume("copy-files")
    assert set((await world.beat()).plan.fates.values()) == {Fate.REPLAY}


async def test_a_uniqueness_key_holds_a_letter_back_until_its_run_is_settled(world: World) -> None:
    await world.store.outbox.accept([new("unique-files", unique="[]")])
    await world.work(Verdict.FAILED)
    await world.store.outbox.accept([new("unique-files", unique="[]")])
    assert set((await world.beat()).plan.fates.values()) == {Fate.HELD}
    assert len(await world.store.dead_letters.newest()) == 1
    await world.work(Verdict.RAN)
    assert set((await world.beat()).plan.fates.values()) == {Fate.REPLAY}


async def test_what_is_no_message_and_what_is_not_transient_is_raised_once(world: World) -> None:
    await world.store.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON")
    await world.store.outbox.accept([new("copy-files", context={"numbers": 1}), new("gone-job")])
    await world.work(Verdict.FAILED)
    for _ in range(5):
        await world.beat()
    assert len(world.raised) == 3
    assert {fate.value for fate in (Fate.NO_MESSAGE, Fate.REFUSED, Fate.NO_JOB)} == {
        text.partition("(")[2].rpartition(")")[0].removeprefix("no message): invalid message (")
        for text in world.raised
    }
    assert len(await world.store.dead_letters.newest()) == 3


async def test_what_it_did_not_look_at_is_its_first_line(world: World) -> None:
    await world.die(5)
    world.own = DlqSettings(look_at=3)
    found = await world.beat()
    assert (len(found.letters), found.unseen) == (3, ["checked only the 3 newest of 5 dead letters"])
    world.own = DlqSettings(look_at=5)
    assert (await world.beat()).unseen == []


async def test_a_dry_run_replays_raises_and_marks_nothing(world: World) -> None:
    await world.die(1)
    await world.store.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON")
    world.clock.move(BEAT)
    found = Findings()
    await process(world.store, world.settings, world.own, found, dry_run=True)
    assert Counter(found.plan.fates.values()) == {Fate.REPLAY: 1, Fate.NO_MESSAGE: 1}
    assert (len(found.news), found.marks) == (1, {})
    assert len(await world.store.dead_letters.newest()) == 2


async def test_without_a_store_it_looked_at_nothing(project: Path) -> None:
    told: list[str] = []
    with running(RunContext(job=NAME, run_id="r", project=project, report=told.append)):
        result = await dlq_processing()
    assert result["letters"] is None
    assert told == ["the dead letters were not read: no state store is configured, and no `horae up` is running here"]


async def test_a_store_that_is_away_or_refuses_fails_the_run(
    project: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = RunContext(job=NAME, run_id="r", project=project, report=lambda text: None)
    wrong = valkey_url.replace("redis://", "redis://nobody:s3cret@")
    for url in (f"redis://127.0.0.1:{free_port()}/0", wrong):
        monkeypatch.setenv("HORAE_STORE__URL", url)
        with running(context), pytest.raises(StoreUnavailable) as error:
            await dlq_processing()
        assert "s3cret" not in str(error.value)


@pytest.fixture
def user(with_job: Path, valkey_url: str, namespace: str) -> Iterator[Services]:
    for name in ("dlq_processing.py", "_dlq"):
        (with_job / "internal" / name).symlink_to(ROOT / "internal" / name)
    settings = {"REST_SECONDS": "0", "MOST_AT_ONCE": "200", "MOST_AN_HOUR": "1000"}
    variables = {f"HORAE_JOBS__DLQ_PROCESSING__{name}": value for name, value in settings.items()}
    with services(with_job, valkey_url, namespace, **variables) as running_services:
        yield running_services


def horae(user: Services, project: Path, *arguments: str) -> Any:
    environment = user.environment
    done = subprocess.run(
        [sys.executable, "-m", "horae", *arguments, "--json"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def letters_of(user: Services, project: Path) -> int:
    return len(horae(user, project, "dead", "list", "--limit", "1000"))


def replays_of(user: Services, project: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = horae(user, project, "fires", "copy-files", "--cause", "replay", "--limit", "1000")
    return found


def test_on_a_real_worker_what_failed_runs_when_the_other_side_is_back(user: Services, with_job: Path) -> None:
    user.start("queue_worker")
    horae(user, with_job, "enqueue", "copy-files")
    wait_for(lambda: letters_of(user, with_job) == 1, "the dead letter", 20)
    (with_job / "there").touch()
    horae(user, with_job, "run", NAME)
    wait_for(lambda: [run["verdict"] for run in replays_of(user, with_job)] == ["ran"], "the replay to run", 20)
    assert letters_of(user, with_job) == 0
    # A fire was never due here, so the result of the run by hand is what later runs go by.
    assert horae(user, with_job, "run", NAME)["verdict"] == "ran"


async def test_killed_in_the_middle_and_run_again_it_replays_each_letter_once(
    user: Services, with_job: Path, valkey_url: str, namespace: str
) -> None:
    settings = Settings(project=with_job, namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))
    async with connect(settings) as store:
        own = World(store, with_job, Clock())
        await own.die(1)
        await _run(user, with_job)
        [tried] = await store.ledger.runs(job="copy-files", only=REPLAYS)
        # One has run: now many follow.
        assert await settle(store, await claim(store, Message(job="copy-files", run_id=tried.run_id)), Verdict.RAN)
        await own.die(150)
        process = await _started(user, with_job)

        async def replayed() -> int:
            return len(await store.ledger.ids(job="copy-files", limit=1000)) - 152

        while process.returncode is None and await replayed() < 1:
            pass
        process.kill()
        await process.wait()
        in_the_middle = await replayed()
        await _run(user, with_job)
        assert await replayed() == 150
        chains = await own.chains()
        assert (len(chains), max(chains.values())) == (151, 1)
        assert await store.dead_letters.newest(limit=200) == []
    assert 0 < in_the_middle < 150, "it was killed in the middle"


async def _started(user: Services, project: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "horae", "run", NAME),
        cwd=project,
        env=user.environment | {"PYTHONPATH": os.fspath(ROOT)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def _run(user: Services, project: Path) -> None:
    process = await _started(user, project)
    assert await process.wait() == 0
