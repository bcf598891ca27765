"""Horae itself: the real `horae worker` in a project with two async jobs."""

from collections.abc import Mapping

from benchmarks.contender import Contender, Place
from benchmarks.horae_project import NOOP, STAMP, command, make, ran, variables


def _prepare(place: Place) -> None:
    make(place.folder, {"infra/noop.py": NOOP, "infra/stamp.py": STAMP})


def _environment(place: Place) -> Mapping[str, str]:
    return variables(place.url)


CONTENDER = Contender(
    name="horae",
    app="horae_app",
    setup="500 slots; it claims, leases and logs each run, and keeps one ledger row with its story",
    worker=lambda place: command("worker"),
    finished=lambda client, filled: ran(client, "noop"),
    peer=False,
    prepare=_prepare,
    environment=_environment,
)
