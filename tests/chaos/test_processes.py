"""The processes of a chaos run are found in each release: `hold` stops the one that runs the jobs."""

import subprocess
import sys
from pathlib import Path

from tests.processes import HERE, Checkout, Service
from tests.waiting import wait_for


def test_a_process_of_a_release_without_a_guardian_is_held_itself(tmp_path: Path) -> None:
    (tmp_path / "horae/execution").mkdir(parents=True)
    older = Checkout(root=tmp_path, python=Path(sys.executable), path=tmp_path)
    assert HERE.guards
    assert not older.guards
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        service = Service(
            name="older", kind="queue_worker", process=process, log=tmp_path / "log", guarded=older.guards
        )
        assert service.worker == process.pid
        service.hold()
        wait_for(lambda: state_of(process.pid) == "T", "the process to be stopped", 5)
        service.let_go()
        wait_for(lambda: state_of(process.pid) != "T", "the process to go on", 5)
        process.kill()


def state_of(pid: int) -> str:
    """One letter, as `ps` prints it."""
    found = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return found.stdout.strip()[:1]
