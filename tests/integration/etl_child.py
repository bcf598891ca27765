"""Runs the ETL job as a process that dies or that the operating system stops: `etl_child.py FOLDER TABLE REPO HOW`.

HOW is one of
- `extract`, `transform`, `load` or `record`: after this step it kills itself,
- a number: it kills itself at this move of a file by dlt,
- `full-N`: no file may have more than N bytes, as if the disk were full,
- `calls`: it prints each address that it connects to.
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
    print("; ".join(addresses) if sys.argv[4] == "calls" else found.headline)
    print(*found.unseen, sep="\n")


if __name__ == "__main__":
    main()
