"""Parts on real processes: what starts is ready, what dies comes back, what is stopped is gone."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from horae import settings
from horae.errors import StartError
from horae.local import endpoints
from horae.local.embedded import FOLDER
from horae.local.endpoints import Endpoints
from horae.local.ports import LOOPBACK, choose_port, free_port
from horae.local.valkey import url_of
from horae.up.leftovers import MARK
from horae.up.lock import project_lock
from horae.up.parts import Part, PartEvent, Parts, What
from horae.up.store_part import store_part
from tests.waiting import wait_for, wait_until

SERVER = """
import pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
for option in sys.argv[2:]:
    if option == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if option == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child").write_text(str(child.pid))
    if option == "runaway":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        (folder / "child").write_text(str(child.pid))
    if option == "broken":
        sys.exit("cannot find my shoes")
(folder / "ready").write_text("yes")
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def server(folder: Path, *options: str, name: str = "server", needs: tuple[str, ...] = ()) -> Part:
    own = folder / name
    own.mkdir()

    async def ready() -> bool:
        return (own / "ready").exists()

    command = (sys.executable, "-c", SERVER, str(own), *options)
    return Part(name=name, command=command, cwd=folder, ready=ready, needs=needs, ready_seconds=10)


def pid_of(parts: Parts, name: str = "server") -> int:
    [status] = [status for status in parts.status() if status.name == name]
    assert status.pid
    return status.pid


class TestStarting:
    async def test_a_started_part_is_ready_and_listed(self, tmp_path: Path) -> None:
        async with Parts(tmp_path) as parts:
            await parts.start(server(tmp_path))
            [status] = parts.status()
            assert (status.name, status.what, status.restarts) == ("server", What.READY, 0)
            assert alive(pid_of(parts))

    async def test_a_part_that_ends_says_why_with_the_end_of_its_log(self, tmp_path: Path) -> None:
        async with Parts(tmp_path) as parts:
            with pytest.raises(StartError, match=r"server did not start: .* exit status 1(.|\n)*cannot find my shoes"):
                await parts.start(server(tmp_path, "broken"))

    async def test_a_command_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        async def ready() -> bool:
            return False

        async with Parts(tmp_path) as parts:
            with pytest.raises(StartError, match="cannot run /nowhere/valkey: No such file"):
                await parts.start(Part(name="valkey", command=("/nowhere/valkey",), cwd=tmp_path, ready=ready))

    async def test_a_part_that_is_never_ready_is_killed(self, tmp_path: Path) -> None:
        async def never() -> bool:
            return False

        command = (sys.executable, "-c", "import time; time.sleep(600)")
        async with Parts(tmp_path) as parts:
            with pytest.raises(StartError, match=r"not ready within 0\.3 s"):
                await parts.start(Part(name="slow", command=command, cwd=tmp_path, ready=never, ready_seconds=0.3))
            assert [status.pid for status in parts.status()] == [None]

    def test_what_a_part_inherits_is_not_taken_for_a_setting(self, project: Path) -> None:
        assert settings.load(project, {MARK: "somewhere"}).project == project


class TestRestarting:
    async def test_a_killed_part_comes_back_counted_and_named(self, tmp_path: Path) -> None:
        events: list[PartEvent] = []
        async with Parts(tmp_path, events.append) as parts:
            await parts.start(server(tmp_path))
            first = pid_of(parts)
            os.kill(first, signal.SIGKILL)
            await wait_until(
                lambda: parts.status()[0].restarts == 1 and parts.status()[0].what is What.READY, "restart"
            )
            assert pid_of(parts) != first
            assert [event.what for event in events] == [
                What.STARTING,
                What.READY,
                What.DIED,
                What.STARTING,
                What.READY,
            ]
            assert "SIGKILL" in events[2].detail

    async def test_what_a_dead_part_started_dies_before_its_successor_starts(self, tmp_path: Path) -> None:
        async with Parts(tmp_path) as parts:
            await parts.start(server(tmp_path, "parent"))
            child = int((tmp_path / "server/child").read_text())
            os.kill(pid_of(parts), signal.SIGKILL)
            await wait_until(lambda: parts.status()[0].restarts == 1, "restart")
            await wait_until(lambda: not alive(child), "the end of the orphan")

    @pytest.mark.skipif(not Path("/proc").exists(), reason="Linux only")
    async def test_what_it_started_in_a_session_of_its_own_dies_too_where_that_is_asked(self, tmp_path: Path) -> None:
        async with Parts(tmp_path) as parts:
            await parts.start(replace(server(tmp_path, "runaway"), ends_all=True))
            await parts.start(server(tmp_path, "runaway", name="other"))
            child, other = (int((tmp_path / f"{name}/child").read_text()) for name in ("server", "other"))
            os.kill(pid_of(parts), signal.SIGKILL)
            await wait_until(lambda: parts.status()[0].restarts == 1, "restart")
            await wait_until(lambda: not alive(child), "the end of the orphan")
            assert alive(other), "another part's"


class TestStopping:
    async def test_parts_stop_after_those_that_need_them(self, tmp_path: Path) -> None:
        events: list[PartEvent] = []
        async with Parts(tmp_path, events.append) as parts:
            await parts.start(server(tmp_path, name="store"))
            await parts.start(server(tmp_path, name="worker", needs=("store",)))
        assert [event.part for event in events if event.what is What.STOPPED] == ["worker", "store"]

    async def test_a_deaf_part_is_killed_in_time(self, tmp_path: Path) -> None:
        events: list[PartEvent] = []
        began = asyncio.get_running_loop().time()
        async with Parts(tmp_path, events.append) as parts:
            await parts.start(server(tmp_path, name="store"))
            await parts.start(server(tmp_path, "deaf", name="worker", needs=("store",)))
            pids = [pid_of(parts, "store"), pid_of(parts, "worker")]
        assert asyncio.get_running_loop().time() - began < 11
        assert not any(alive(pid) for pid in pids)
        assert [event.part for event in events if event.what is What.KILLED] == ["worker"]

    @pytest.mark.skipif(sys.platform != "linux", reason="finds them in /proc, which only Linux has")
    async def test_even_what_left_its_process_group_is_ended(self, tmp_path: Path) -> None:
        async with Parts(tmp_path) as parts:
            await parts.start(server(tmp_path, "runaway"))
            child = int((tmp_path / "server/child").read_text())
            assert alive(child)
        await wait_until(lambda: not alive(child), "the end of the runaway")

    @pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
    def test_a_killed_supervisor_orphans_nothing(self, tmp_path: Path) -> None:
        text = (
            "import asyncio, pathlib, sys\n"
            "from horae.up.parts import Parts\n"
            "from tests.integration.test_parts import server\n"
            "async def main():\n"
            "    folder = pathlib.Path(sys.argv[1])\n"
            "    async with Parts(folder) as parts:\n"
            "        await parts.start(server(folder))\n"
            "        print(parts.status()[0].pid, flush=True)\n"
            "        await asyncio.sleep(600)\n"
            "asyncio.run(main())\n"
        )
        root = Path(__file__).parents[2]
        with subprocess.Popen(
            [sys.executable, "-c", text, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
        ) as up:
            assert up.stdout
            pid = int(up.stdout.readline())
            assert alive(pid)
            up.kill()
        wait_for(lambda: not alive(pid), "the end of the part")


class TestValkey:
    @pytest.mark.requires("valkey")
    async def test_the_embedded_valkey_keeps_what_it_was_told_when_killed(self, tmp_path: Path) -> None:
        import redis.asyncio as redis

        port = free_port()
        part = store_part(tmp_path, port)
        url = url_of(tmp_path / FOLDER, port)
        async with Parts(tmp_path) as parts, redis.Redis.from_url(url) as client:
            await parts.start(part)
            await client.set("kept", "yes")
            await client.waitaof(1, 0, 5000)
            os.kill(pid_of(parts, "valkey"), signal.SIGKILL)
            await wait_until(
                lambda: parts.status()[0].restarts == 1 and parts.status()[0].what is What.READY, "restart"
            )
        async with Parts(tmp_path) as parts, redis.Redis.from_url(url) as client:
            await parts.start(part)
            assert await client.get("kept") == b"yes"
            assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"


@contextmanager
def held_by_another(state: Path) -> Iterator[int]:
    text = (
        "import pathlib, sys\n"
        "from horae.up.lock import project_lock\n"
        "with project_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", text, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
        holder.kill()


class TestLock:
    def test_a_second_holder_is_told_who_has_it_and_where(self, tmp_path: Path) -> None:
        with held_by_another(tmp_path) as pid:
            Endpoints(pid=pid, prefect_api_url="http://127.0.0.1:4200/api").write(tmp_path)
            with pytest.raises(StartError) as refused, project_lock(tmp_path):
                pytest.fail("two holders")
            for said in (f"process {pid}", "http://127.0.0.1:4200,"[:-1], "Ctrl-C"):
                assert said in refused.value.message

    def test_a_killed_holder_leaves_no_lock(self, tmp_path: Path) -> None:
        with held_by_another(tmp_path) as pid:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not alive(pid), "the holder's end")
            with project_lock(tmp_path):
                assert (tmp_path / "up.lock").read_text() == f"{os.getpid()}\n"

    def test_nothing_is_left_behind(self, tmp_path: Path) -> None:
        with project_lock(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("")
        with pytest.raises(StartError, match="HORAE_STATE_DIR"), project_lock(blocked / "state"):
            pass


class TestEndpoints:
    def test_what_is_written_is_read_while_the_writer_lives(self, tmp_path: Path) -> None:
        here = Endpoints(pid=os.getpid(), store_url="redis://:secret@127.0.0.1:6479/0")
        here.write(tmp_path)
        assert endpoints.read(tmp_path) == here
        assert (tmp_path / endpoints.FILE).stat().st_mode & 0o077 == 0
        endpoints.remove(tmp_path)
        assert endpoints.read(tmp_path) is None

    def test_a_dead_writers_words_do_not_count(self, tmp_path: Path) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        Endpoints(pid=gone.pid).write(tmp_path)
        assert json.loads((tmp_path / endpoints.FILE).read_text())["pid"] == gone.pid
        assert endpoints.read(tmp_path) is None


class TestPorts:
    def test_a_taken_port_is_refused_with_the_setting_to_change(self) -> None:
        import socket

        with socket.create_server((LOOPBACK, 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(StartError, match=rf"port {port} .*the embedded Valkey.*HORAE_STORE__PORT="):
                choose_port(port, "the embedded Valkey", "store.port")

    def test_zero_is_any_free_port(self) -> None:
        assert choose_port(0, "the embedded Valkey", "store.port") > 0
