"""What an idle sidecar and an idle queue worker cost: memory, and CPU over a while."""

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.errors import BenchError
from benchmarks.figures import Figure
from benchmarks.horae_project import NOOP, STAMP
from benchmarks.resources import use_of
from benchmarks.services import rest, services

NAME = "idle"
AT_MOST_SECONDS = 5.0
"""Before the window: what start-up costs is not idleness."""
DEFAULT_SLOTS = 4


def measure(bench: Bench) -> Iterator[Figure]:
    seconds = max(1.0, bench.options.seconds / 2)
    files = {"infra/noop.py": NOOP, "infra/stamp.py": STAMP}
    with bench.trying(NAME), services(bench, NAME, files, DEFAULT_SLOTS) as running:
        kinds = {"sidecar": running.sidecar, "queue worker": running.worker}
        rest(min(AT_MOST_SECONDS, bench.options.seconds), *kinds.values())
        before = {kind: use_of(process.pid) for kind, process in kinds.items()}
        rest(seconds, *kinds.values())
        for kind, process in kinds.items():
            earlier, later = before[kind], use_of(process.pid)
            if earlier is None or later is None:
                raise BenchError("memory and CPU come from /proc, which this system does not have")
            cpu = 100 * (later.cpu_seconds - earlier.cpu_seconds) / seconds
            bench.say(f"{NAME}: {kind}: {later.memory_bytes / 1e6:.0f} MB, {cpu:.2f} % of a core")
            memory = later.memory_bytes / 1e6
            yield Figure(measurement=NAME, what=f"idle {kind}: memory", who="horae", value=memory, unit="MB")
            yield Figure(measurement=NAME, what=f"idle {kind}: CPU", who="horae", value=cpu, unit="% of a core")
