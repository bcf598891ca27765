"""What jobs, errors, contexts and file names hold reaches no terminal as a control character, whatever shows it."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.project.registry import Registry
from horae.reasons import Reason
from horae.runs import Failure, Verdict
from horae.settings import Settings, StoreSettings
from horae.store import connect
from horae.up.board import Board
from tests.contract.stores import claim, new, send, settle

pytestmark = pytest.mark.requires("valkey")
BAD = "\x1b[2J\x1b]0;PWN\x07\r\nfake 2026 ran\u202e\x9b31m\x7f"
JOB = f"""
from horae import job


@job(traits={{"infrastructure"}})
def shout(**context: object) -> str:
    print({BAD!r})
    raise ValueError({BAD!r})
"""


async def prepared(url: str, namespace: str) -> tuple[str, str]:
    """A failed run and a message that is none; their ids."""
    settings = Settings(namespace=namespace, store=StoreSettings(url=SecretStr(url)))
    run = new("shout", context={BAD: BAD}, metadata={"replay_reason": BAD})
    async with connect(settings) as store:
        [message] = await send(store, run)
        held = await claim(store, message)
        await store.claims.report(held, BAD)
        await store.ledger.append_log(run.run_id, [BAD])
        failure = Failure(type="ValueError", message=BAD, traceback=f"Traceback\n  {BAD}")
        await settle(store, held, Verdict.FAILED, reason=Reason.RAISED, failure=failure)
        letter = await store.dead_letters.bury(BAD.encode(), Reason.INVALID_MESSAGE, f"not JSON: {BAD}")
    return run.run_id, letter


def on_terminal(project: Path, env: dict[str, str], *arguments: str) -> str:
    """What a terminal gets of a command."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "horae", *arguments],
        cwd=project,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    process.wait(10)
    return said.decode().replace("\r\n", "\n")


async def test_nothing_that_a_job_says_steers_a_terminal(project: Path, valkey_url: str, namespace: str) -> None:
    (project / "infra/shout.py").write_text(JOB)
    (project / "infra/a\x1b[31mb.py").write_text("x")
    run, letter = await prepared(valkey_url, namespace)
    env = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace, "TERM": "xterm", "NO_COLOR": "1"}
    for command in (
        ["fires"],
        ["fires", "--json"],
        ["show", run],
        ["show", run, "--json"],
        ["show", letter],
        ["logs", run],
        ["jobs"],
        ["check"],
        ["explain", "shout"],
        ["dead", "list"],
        ["dead", "show", run],
        ["dead", "show", letter],
        ["dead", "replay", run, "--preview"],
        ["dead", "replay", letter],
        ["dead", "export"],
        ["run", "shout"],
        ["show", BAD],
        ["run", BAD],
    ):
        said = on_terminal(project, env, *command)
        assert said, command
        assert not [c for c in said if not c.isprintable() and c != "\n"], (command, said)
        if command in (["fires"], ["dead", "list"], ["jobs"]):
            assert not [line for line in said.splitlines() if line.startswith("fake")], "a row is a line"
        if "--json" in command:
            assert "PWN" in json.dumps(json.loads(said))


async def test_nor_the_live_table_or_the_lines_of_horae_up(capsys: pytest.CaptureFixture[str]) -> None:
    board = Board(Registry(), live=False)
    board.say(BAD)
    said = capsys.readouterr().err
    assert "PWN" in said
    assert not [c for c in said if not c.isprintable() and c != "\n"]
