"""The jobs of a chaos run, as data: what each is, how its schedule is written, and what that means."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chaos.fence import Fence
from chaos.journal import FENCE_FILE

TEMPLATE = '''"""Generated."""

import asyncio
import ctypes
import subprocess
import time
from datetime import timedelta

from chaos.journal import attempt

try:
    from horae import Retry, cron, every, job
except ImportError:  # the release before, where `horae` has no front page
    from horae.jobs import Retry, job
    from horae.schedules import cron, every


@job(
    {schedule}traits={{"infrastructure", "survives_restarts"}},
    time_limit=timedelta(minutes=2),
    retry=Retry(retries=2, base_delay=timedelta(milliseconds=300)),
    overlap="{overlap}",
    catch_up="{catch_up}",
    idempotent=True,
)
{define} {function}(*, seconds: float = {seconds}) -> None:
    """{how}, {seconds} s."""
    with attempt(raises_first={raises_first}):
        {body}
'''

INTERNAL_TEMPLATE = '''"""Generated."""

from chaos.journal import attempt
from horae import cron, every, job


@job(schedule={schedule}, overlap="{overlap}", catch_up="{catch_up}")
async def {function}() -> None:
    """{how}, internal."""
    with attempt():
        pass
'''


class How(StrEnum):
    ASYNC = "async"
    CHILD = "child"
    BLOCKING = "blocking"
    """Async, but it never lets go of the event loop."""
    LOCKING = "locking"
    """Async, and it never lets go of the interpreter lock."""
    LEAVING = "leaving"
    """In a child, and it leaves a process behind in a session of its own."""
    FLOODING = "flooding"
    """In a child, and it writes more than anybody reads."""


SURVIVED = frozenset({How.LOCKING, How.LEAVING, How.FLOODING})
"""What jobs may do to their process since this release: a guardian and fresh processes stand against it."""

BLOCKERS = frozenset({How.BLOCKING, How.LOCKING})
"""Jobs that keep their worker's event loop from all else."""
ON_LOOP = BLOCKERS | {How.ASYNC}
"""Jobs that run on their worker's event loop, unless they are suspects."""

BODIES = {
    How.ASYNC: ("async def", "await asyncio.sleep(seconds)"),
    How.CHILD: ("def", "time.sleep(seconds)"),
    How.BLOCKING: ("async def", "time.sleep(seconds)"),
    How.LOCKING: ("async def", "ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))"),
    How.LEAVING: ("def", 'subprocess.Popen(["sleep", "600"], start_new_session=True)'),
    How.FLOODING: ("def", 'print("flood\\n" * 100_000)'),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A generated job."""

    name: str
    how: How = How.ASYNC
    seconds: float = 0.0
    share: int = 0
    """Of the enqueued runs, in thousandths; 0: fires by schedule only."""
    schedule: str = ""
    """As the job file says it."""
    period_seconds: int = 0
    """What that means: a fire at every multiple since the Unix epoch."""
    overlap: str = "allow"
    catch_up: str = "all"
    raises_first: bool = False
    internal: bool = False
    """It runs in a sidecar, and is lost with it."""

    @property
    def every_fire_runs(self) -> bool:
        """By its policies no fire is skipped or missed, so that each must be in the journal."""
        return bool(self.schedule) and self.overlap == "allow" and self.catch_up == "all" and not self.internal

    @property
    def file(self) -> str:
        define, body = BODIES[self.how]
        template = INTERNAL_TEMPLATE if self.internal else TEMPLATE
        schedule = self.schedule if self.internal else f"schedule={self.schedule},\n    " if self.schedule else ""
        return template.format(
            schedule=schedule,
            overlap=self.overlap,
            catch_up=self.catch_up,
            define=define,
            function=self.name.replace("-", "_"),
            how=self.how.value,
            seconds=self.seconds,
            raises_first=self.raises_first,
            body=body,
        )


TICK = Workload(name="tick", schedule='every("1s")', period_seconds=1)
BEAT = Workload(name="beat", schedule='every("1s")', period_seconds=1, internal=True)


def workloads(lease_seconds: float) -> tuple[Workload, ...]:
    """The mixture of a chaos run."""
    long = round(lease_seconds * 1.5, 3)
    return (
        TICK,
        Workload(name="tick-child", how=How.CHILD, schedule='every("3s")', period_seconds=3),
        Workload(name="tick-long", seconds=long, schedule='every("7s")', period_seconds=7),
        BEAT,
        Workload(name="minutely", schedule='cron("* * * * *")', period_seconds=60),
        Workload(
            name="alone", seconds=1.2, schedule='every("2s")', period_seconds=2, overlap="skip", catch_up="latest"
        ),
        Workload(name="quick", share=896),
        Workload(name="raises", share=20, raises_first=True),
        Workload(name="child", how=How.CHILD, seconds=0.02, share=50),
        Workload(name="long", seconds=long, share=12),
        Workload(name="leaves", how=How.LEAVING, share=10),
        Workload(name="floods", how=How.FLOODING, share=4),
        Workload(name="long-child", how=How.CHILD, seconds=long, share=8),
        # By schedule, so that it takes the same share of a worker's time at every pace.
        Workload(name="blocks", how=How.BLOCKING, seconds=long, schedule='every("19s")', period_seconds=19),
        Workload(name="locks", how=How.LOCKING, seconds=long, schedule='every("23s")', period_seconds=23),
    )


def write(project: Path, *jobs: Workload) -> None:
    """Put their files, and what they write to, into a project."""
    Fence(project / FENCE_FILE).create()
    for job in jobs:
        folder = project / ("internal" if job.internal else "infra")
        folder.mkdir(exist_ok=True)
        (folder / f"{job.name.replace('-', '_')}.py").write_text(job.file)
