"""A short seeded chaos run, and the relay that cuts its connections."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaos.beside import prepared
from chaos.driver import play
from chaos.host_clock import can_step
from chaos.plan import Blow, plan_of
from chaos.report import report_of, sharing
from chaos.stage import left_behind
from horae.errors import UsageError
from horae.local.ports import LOOPBACK
from tests.processes import ROOT
from tests.proxy import Proxy
from tests.requirements import RELEASE_BEFORE
from tests.waiting import wait_for, wait_until

PLAN = plan_of(seed=20_264, jobs=500, jobs_a_second=14, seconds_between_kills=1.8, clocks=can_step())


@pytest.mark.requires("valkey")
@pytest.mark.timeout(300)
async def test_a_seeded_chaos_run_loses_nothing_and_repeats_only_what_was_hit(tmp_path: Path) -> None:
    played = await play(PLAN, tmp_path)
    report = report_of(PLAN, played)
    print(report)
    kinds = {blow for blow in Blow if not blow.on_broker and (can_step() or not blow.steps)}
    assert {hit.blow for hit in played.record.hits} == kinds, "the plan has every kind of blow"
    assert report.findings.fires > 30
    assert report.satisfied, str(report)


@pytest.mark.requires("valkey")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_file(tmp_path: Path, sign: signal.Signals) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos", "--seed", "1"],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait_for(lambda: "accepted" in log.read_text() or process.poll() is not None, "jobs to be accepted", 40)
        [folder] = tmp_path.glob("horae-chaos-*")
        assert len(left_behind(folder / "project")) >= 4, "two sidecars and two workers"
        os.killpg(process.pid, sign)  # as a terminal does
        assert process.wait(20) == 130, log.read_text()
    finally:
        process.kill()
    assert "interrupted" in log.read_text()
    assert left_behind(folder / "project") == []
    assert not folder.exists()


@asynccontextmanager
async def echoing() -> AsyncIterator[Proxy]:
    """A proxy before a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, LOOPBACK, 0) as server, Proxy(_port(server)) as proxy:
        yield proxy


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._heard = asyncio.create_task(reader.read(100))

    @classmethod
    async def connect(cls, proxy: Proxy) -> "Caller":
        return cls(*await asyncio.open_connection(LOOPBACK, proxy.port))

    def say(self, text: bytes) -> None:
        self._writer.write(text)

    async def hear(self) -> bytes:
        """What came back; ConnectionResetError, or nothing, when it was cut."""
        heard = await asyncio.wait_for(asyncio.shield(self._heard), 5)
        self._heard = asyncio.create_task(self._reader.read(100))
        return heard

    async def is_cut(self) -> bool:
        try:
            return await self.hear() == b""
        except ConnectionError:
            return True

    def heard_nothing(self) -> bool:
        return not self._heard.done()

    async def close(self) -> None:
        self._heard.cancel()
        await asyncio.gather(self._heard, return_exceptions=True)
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


async def test_the_relay_passes_on_drops_and_refuses() -> None:
    async with echoing() as proxy:
        caller = await Caller.connect(proxy)
        caller.say(b"one")
        assert await caller.hear() == b"one"
        proxy.drop()
        assert await caller.is_cut()
        proxy.refuse()
        refused = await Caller.connect(proxy)
        assert await refused.is_cut()
        proxy.restore()
        again = await Caller.connect(proxy)
        again.say(b"two")
        assert await again.hear() == b"two"
        for one in (caller, refused, again):
            await one.close()


async def test_the_relay_holds_up_what_is_said_until_it_is_restored() -> None:
    async with echoing() as proxy:
        before = await Caller.connect(proxy)
        before.say(b"zero")
        assert await before.hear() == b"zero"
        proxy.stall()
        during = await Caller.connect(proxy)
        for one in (before, during):
            one.say(b"one")
        await wait_until(lambda: proxy.connections >= 4, "both to be connected through")
        assert before.heard_nothing()
        assert during.heard_nothing()
        proxy.restore()
        assert await before.hear() == b"one"
        assert await during.hear() == b"one"
        for one in (before, during):
            await one.close()


async def test_a_server_that_is_away_is_a_cut() -> None:
    async with echoing() as proxy:
        pass
    async with Proxy(proxy.port) as relay:
        caller = await Caller.connect(relay)
        assert await caller.is_cut()
        await caller.close()


@pytest.mark.requires("valkey")
@pytest.mark.requires("history")
@pytest.mark.timeout(600)
async def test_the_release_before_and_this_one_share_the_work_and_lose_nothing(tmp_path: Path) -> None:
    plan = plan_of(seed=7, jobs=300, jobs_a_second=12, seconds_between_kills=2.5, beside=True)
    played = await play(plan, tmp_path, beside=await asyncio.to_thread(prepared, RELEASE_BEFORE))
    report = report_of(plan, played)
    print(report)
    assert report.satisfied, str(report)
    shared = sharing(played.journal)
    assert 0 < shared.older < shared.attempts, "both revisions began runs"


def test_a_revision_that_is_not_here_is_refused_with_the_way_to_get_it() -> None:
    with pytest.raises(UsageError, match="does not have this revision; `git fetch --unshallow`"):
        prepared("0123456789")
