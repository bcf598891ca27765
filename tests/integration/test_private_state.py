"""The state folder is for its owner alone, and what stands in the way of the store in it is a sentence."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError

from horae.errors import StartError
from horae.local.ports import free_port
from horae.local.state_folder import state_folder
from horae.local.valkey import answers, secret_of, url_of
from horae.up.parts import PartEvent, Parts, What
from horae.up.store_part import store_part
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
AGREE = """
import sys
from pathlib import Path
from horae.local.valkey import secret_of
print(secret_of(Path(sys.argv[1])).password)
"""
UP = """
import resource, sys
from horae.settings import load
from horae.errors import HoraeError
from horae.up.up import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    main(load())
except HoraeError as error:
    sys.exit(error.message)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def command_lines() -> str:
    return subprocess.run(["ps", "-eo", "args", "-ww"], check=True, capture_output=True, text=True).stdout


def repaired(detail: str, file: Path) -> None:
    """Do what the sentence says."""
    command = detail.partition("at the damage with ")[2].partition(". Then start")[0].replace("FILE", str(file))
    subprocess.run(command, shell=True, input=b"y\n", check=True, capture_output=True)


class TestFolder:
    def test_it_is_private_and_git_ignores_it(self, tmp_path: Path) -> None:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        (tmp_path / ".horae").mkdir(mode=0o755)
        state = state_folder(tmp_path / ".horae")
        (state / "secret").write_text("x")
        assert mode(state) == 0o700
        status = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
        assert subprocess.run(status, check=True, capture_output=True).stdout == b""

    def test_a_folder_of_another_name_that_was_there_is_left_as_it_is(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        state_folder(tmp_path)
        assert (mode(tmp_path), os.listdir(tmp_path)) == (0o755, [])
        assert mode(state_folder(tmp_path / "state")) == 0o700


class TestPassword:
    async def test_the_server_wants_it_and_the_process_list_does_not_have_it(self, tmp_path: Path) -> None:
        state, port = state_folder(tmp_path / ".horae"), free_port()
        async with Parts(state) as parts:
            await parts.start(store_part(state, port))
            secret = secret_of(state / "valkey")
            assert mode(secret.configuration) == mode(secret.configuration.parent) & 0o600 == 0o600
            with redis.Redis.from_url(url_of(state / "valkey", port)) as client:
                assert client.ping()
            with redis.Redis(port=port) as stranger, pytest.raises(AuthenticationError):
                stranger.ping()
            assert secret.password not in command_lines()
            assert answers(port, secret.password)
            assert not answers(port, "0" * 64)
            assert not answers(port)

    def test_a_server_without_a_password_is_not_ours(self, valkey_url: str) -> None:
        port = int(valkey_url.rpartition(":")[2].partition("/")[0])
        assert answers(port)
        assert not answers(port, "0" * 64)

    def test_it_stays_the_same_and_several_that_make_it_agree(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", AGREE, str(tmp_path)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
        found = {process.communicate()[0].strip().decode() for process in processes}
        assert found == {secret_of(tmp_path).password}
        assert os.listdir(tmp_path) == ["valkey.conf"]

    def test_a_file_that_is_not_ours_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "valkey.conf").write_text("appendonly no\n")
        with pytest.raises(StartError, match="does not have the content that Horae wrote"):
            secret_of(tmp_path)


async def test_a_damaged_file_is_named_when_it_is_met_at_a_restart(tmp_path: Path) -> None:
    state, port, events = state_folder(tmp_path / ".horae"), free_port(), list[PartEvent]()
    async with Parts(state, on_event=events.append) as parts:
        await parts.start(store_part(state, port))
        with redis.Redis.from_url(url_of(state / "valkey", port)) as client:
            for number in range(100):
                client.set(f"k{number}", "v" * 100)
            client.execute_command("WAITAOF", 1, 0, 5000)
            [file] = (state / "valkey/appendonlydir").glob("*.incr.aof")
            whole = file.read_bytes()
            file.write_bytes(whole[:500] + b"x" * 400 + whole[900:])
        [status] = parts.status()
        assert status.pid
        os.kill(status.pid, 9)

        async def named() -> list[str]:
            return [one.detail for one in events if one.what is What.DIED and "damaged" in one.detail]

        [detail, *_] = await wait_until(named, "the cause", seconds=30)
    assert file.name in detail
    repaired(detail, file)
    async with Parts(state) as parts:
        await parts.start(store_part(state, port))
        with redis.Redis.from_url(url_of(state / "valkey", port)) as client:
            assert 0 < client.dbsize() < 100


@pytest.mark.parametrize("room", [0, 4, 20], ids=["nothing", "no lock", "no store"])
def test_a_disk_without_room_is_a_sentence(project: Path, room: int) -> None:
    command = [sys.executable, "-c", UP, str(room)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "cannot write" in done.stderr
    assert "free space" in done.stderr
