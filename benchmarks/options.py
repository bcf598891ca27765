"""What `make bench ARGS="…"` may say."""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT

MEASUREMENTS = {
    "throughput": "no-op jobs a second of one worker process and of two",
    "enqueue": "enqueues a second, one by one and in a batch",
    "pickup": "from just before the enqueue to the job's first line, with an idle worker",
    "providers": "throughput, batch and pick-up on each queue provider, against its raw client",
    "dispatch": "lateness of cron fires, of 100 jobs and of 100,000 (Horae alone)",
    "drain": "10,000 jobs due at one instant (Horae alone)",
    "internal": "lateness of 1,000 internal jobs (Horae alone)",
    "idle": "memory and CPU of an idle sidecar and queue worker (Horae alone)",
    "steps": "the longest time that one command holds the store (Horae alone)",
}
CONTENDERS = ("horae", "raw", "arq", "saq", "taskiq", "dramatiq", "celery", "docket")
PROVIDERS = ("redis", "nats", "rabbitmq", "kafka")
"""Without Cloud Tasks: its emulator does not show how fast Google's service is."""
REPORT = ROOT / ".horae/bench/report.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    only: tuple[str, ...] = tuple(MEASUREMENTS)
    contenders: tuple[str, ...] = CONTENDERS
    providers: tuple[str, ...] = PROVIDERS
    jobs: int = 20_000
    rounds: int = 3
    pickups: int = 200
    seconds: int = 120
    few_cron_jobs: int = 100
    cron_jobs: int = 100_000
    due_jobs: int = 10_000
    internal_jobs: int = 1_000
    rows: int = 100_000
    report: Path = REPORT


def parse(arguments: Sequence[str]) -> Options:
    """Ends the process, with a sentence, for what it does not know."""
    default = Options()
    listed = "\n".join(f"  {name:<11} {what}" for name, what in MEASUREMENTS.items())
    parser = argparse.ArgumentParser(
        prog='make bench ARGS="…"',
        description="Measure Horae and its peers on the same real Valkey, in one run on this machine.",
        epilog=f"measurements:\n{listed}\n\ncontenders: {', '.join(CONTENDERS)}\nproviders: {', '.join(PROVIDERS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = {"only": MEASUREMENTS, "contenders": CONTENDERS, "providers": PROVIDERS}
    for name, known in chosen.items():
        what = "measurements" if name == "only" else name
        parser.add_argument(
            f"--{name}", type=_names(known), default=getattr(default, name), metavar="NAME,…", help=f"only these {what}"
        )
    counts = {
        "jobs": "number of jobs for throughput and batch; slow peers get fewer, because only the rate counts",
        "rounds": "number of rounds of throughput and enqueue; the table shows the median",
        "pickups": "number of pick-ups of each contender, or as many as fit into 20 seconds",
        "seconds": "duration of dispatch and internal on the real clock; idle takes half of it",
        "few_cron_jobs": "number of jobs of the small dispatch measurement; each fires once a minute",
        "cron_jobs": "number of jobs of the large dispatch measurement; each fires once an hour",
        "due_jobs": "number of jobs of drain",
        "internal_jobs": "number of jobs of internal",
        "rows": "number of dead letters of steps; half as many wait, three tenths are pruned, a fifth superseded",
    }
    for name, meaning in counts.items():
        given = getattr(default, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=_positive, default=given, metavar="N", help=f"{meaning} ({given:,})"
        )
    parser.add_argument(
        "--report", type=Path, default=REPORT, metavar="FILE", help="file of the JSON report (.horae/bench/report.json)"
    )
    return Options(**vars(parser.parse_args(arguments)))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


class _names:
    """Several of the known names, separated by commas, in the known order."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = tuple(known)

    def __call__(self, text: str) -> tuple[str, ...]:
        given = {name.strip() for name in text.split(",") if name.strip()}
        for name in sorted(given):
            if name not in self._known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; there is {', '.join(self._known)}")
        if not given:
            raise argparse.ArgumentTypeError("give at least one name")
        return tuple(name for name in self._known if name in given)
