"""Horae's own project for a bench: a folder with horae.toml and job files, and the real processes in it."""

import sys
from collections.abc import Mapping
from pathlib import Path

import redis

NAMESPACE = "bench"
SLOTS = 500
"""A no-op job holds its slot for as long as its claim and settlement take, so many are needed to keep a worker busy."""
COUNTS = f"{{{NAMESPACE}}}:counts"

SETTINGS = f"""namespace = "{NAMESPACE}"
revision = 1
[worker]
health_port = 0
[sidecar]
health_port = 0
"""

NOOP = '''from horae import job


@job(traits={"infrastructure", "survives_restarts"}, overlap="allow")
async def noop() -> None:
    """Nothing."""
'''

STAMP = '''import os
import time

from horae import job


@job(traits={"infrastructure", "survives_restarts"}, overlap="allow")
async def stamp() -> None:
    """Write down when its first line was reached."""
    at = time.monotonic_ns()
    with open(os.environ["BENCH_STAMPS"], "ab") as file:
        file.write(b"%d\\n" % at)
'''

CRON = '''from datetime import timedelta

from horae import cron, job


def declared(number: int):
    async def spread() -> None:
        """Nothing."""

    declare = job(
        f"spread-{number}",
        schedule=cron(EXPRESSION.format(minute=number % 60)),
        jitter=timedelta(minutes=1),
        traits={"infrastructure", "survives_restarts"},
    )
    return declare(spread)


globals().update({f"spread_{number}": declared(number) for number in range(COUNT)})
'''

AT = '''from horae import job
from horae import at


def declared(number: int):
    async def due() -> None:
        """Nothing."""

    declare = job(f"due-{number}", schedule=at("INSTANT"), traits={"infrastructure", "survives_restarts"})
    return declare(due)


globals().update({f"due_{number}": declared(number) for number in range(COUNT)})
'''

INTERNAL = '''from datetime import timedelta

from horae import every, job


def declared(number: int):
    async def small() -> None:
        """Nothing."""

    return job(f"small-{number}", schedule=every("1m"), jitter=timedelta(minutes=1))(small)


globals().update({f"small_{number}": declared(number) for number in range(COUNT)})
'''


def make(folder: Path, files: Mapping[str, str]) -> Path:
    """A project there, with those job files: path to text.

    Many jobs share one file. A file each, as the project's own rule has it, would make these measurements of a hundred
    thousand imports; the sidecar logs one error about the rule, and then loads and fires all of them.
    """
    for name in ("flows", "infra", "internal"):
        (folder / name).mkdir(parents=True)
    (folder / "horae.toml").write_text(SETTINGS)
    for path, text in files.items():
        (folder / path).write_text(text)
    return folder


def command(*words: str) -> list[str]:
    """`horae …` of this environment."""
    return [str(Path(sys.executable).with_name("horae")), *words]


def variables(url: str, slots: int = SLOTS) -> dict[str, str]:
    return {"HORAE_STORE__URL": url, "HORAE_WORKER__SLOTS": str(slots)}


def ran(client: "redis.Redis", job: str) -> int:
    """How many runs of a job have the verdict `ran`, by the store's own count. Nothing else knows where that stands."""
    count = client.hget(COUNTS, f"{job}|ran")
    return int(count) if isinstance(count, str) else 0


def jobs_settled(client: "redis.Redis") -> int:
    """How many jobs have settled runs: the same count, over all jobs."""
    found = client.hlen(COUNTS)
    assert isinstance(found, int)
    return found
