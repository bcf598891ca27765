"""Runs the ETL job as a process that dies or that the operating system stops: `etl_child.py FOLDER TABLE REPO HOW`.

HOW is `extract`, `transform`, `load` or `record`, after which it kills itself; a number, the move of a file by dlt at
which it kills itself; `full-N`, no file may have more than N bytes, as if the disk were full; `calls`, which prints each address that it connects to; `moves`,
which prints the number of moves of files.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows._etl.running import in_turn
from horae.errors import HoraeError
from tests.etl_projects import Project

moved = 0
addresses: list[str] = []


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    global moved
    if event == "os.rename":
        moved += 1
        if str(moved) == sys.argv[4]:
            die()
    if event == "socket.connect":
        addresses.append(str(arguments[1]))


def each(step: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    found = in_turn(step, calls)
    if step == sys.argv[4]:
        die()
    return found


def main() -> None:
    project = Project(folder=Path(sys.argv[1]), table=json.loads(sys.argv[2]), repos=[sys.argv[3]])
    sys.addaudithook(watch)
    if sys.argv[4].startswith("full-"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4][5:]),) * 2)
    try:
        found = project.run(each=each)
    except HoraeError as error:
        print(f"refused: {error.message}")
        return
    print({"calls": "; ".join(addresses), "moves": moved}.get(sys.argv[4], found.headline))
    print(*found.unseen, sep="\n")


if __name__ == "__main__":
    main()
