"""`make chaos`: 20,000 jobs under a seeded plan of blows; a report; status 0 only if all is well."""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chaos.beside import prepared
from chaos.brokers import PROVIDERS, STORE_ITSELF
from chaos.containers import checked
from chaos.driver import Progress, play
from chaos.host_clock import can_step
from chaos.plan import Plan, plan_of
from chaos.record import OLDER
from chaos.report import Report, report_of, table_of
from chaos.signals import be_stopped_by_signals
from horae.errors import UsageError
from tests.processes import HERE, Source


def arguments() -> argparse.Namespace:
    parser = _parser()
    given = parser.parse_args()
    if given.image and (given.beside or len(given.image) > 2):
        parser.error("--image takes one or two images, and not --beside")
    if given.beside and given.provider != [STORE_ITSELF]:
        parser.error(f"--beside needs --provider {STORE_ITSELF}: an older revision may not know another one")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="number of jobs to enqueue (default: 20000)")
    parser.add_argument("--jobs-a-second", type=float, default=80, help="pace of the plan (default: 80)")
    parser.add_argument(
        "--seed", type=int, default=None, help="seed of the plan (default: a new one, which the program prints)"
    )
    parser.add_argument(
        "--seconds-between-kills", type=float, default=5, help="average time between kills (default: 5)"
    )
    parser.add_argument(
        "--beside",
        metavar="REVISION",
        help="run half of the processes from that revision; each kill swaps the revision of a process",
    )
    parser.add_argument(
        "--provider",
        choices=PROVIDERS,
        nargs="+",
        default=[STORE_ITSELF],
        help="what carries the messages (default: redis, the store's own server); of several, one after the other, and "
        "a table at the end",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report, or a list of them, to this file")
    parser.add_argument("--print-plan", action="store_true", help="print the plan as JSON, and run nothing")
    parser.add_argument(
        "--keep", action="store_true", help="keep journal, record and logs; they are kept anyway if a promise is broken"
    )
    parser.add_argument(
        "--image",
        metavar="IMAGE",
        nargs="+",
        help="run the processes as containers of this Docker image; with a second one, half of them are of that image, "
        "and each kill or stop swaps the image of a process",
    )
    return parser


def sources_of(given: argparse.Namespace) -> Sequence[Source]:
    """What the processes are started from; the second, if any, runs beside the first. Raises UsageError."""
    if given.image:
        return [replace(image, mark=mark) for image, mark in zip(checked(given.image), ("", OLDER), strict=False)]
    return [HERE, prepared(given.beside)] if given.beside else [HERE]


class Shown:
    """Progress on stderr: one line that is written over on a terminal, else one every ten seconds."""

    def __init__(self, jobs: int) -> None:
        self._jobs, self._next = jobs, 0.0

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() < self._next:
            return
        terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0.2 if terminal else 10)
        text = f"{progress.accepted}/{self._jobs} accepted, {progress.ended} ended, {progress.strikes} blows"
        print(f"\r{text}  " if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)


def run(plan: Plan, folder: Path, sources: Sequence[Source]) -> Report:
    (folder / "plan.json").write_text(plan.as_json())
    played = asyncio.run(play(plan, folder, Shown(len(plan.enqueues)), *sources))
    (folder / "record.json").write_text(played.record.as_json())
    return report_of(plan, played)


def main() -> int:
    given = arguments()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    plans = [
        plan_of(
            seed=seed,
            jobs=given.jobs,
            jobs_a_second=given.jobs_a_second,
            seconds_between_kills=given.seconds_between_kills,
            beside=bool(given.beside),
            clocks=can_step(),
            provider=provider,
        )
        for provider in given.provider
    ]
    if given.print_plan:
        print("\n".join(plan.as_json() for plan in plans))
        return 0
    try:
        sources = sources_of(given)
    except UsageError as error:
        print(f"chaos: {error.message}", file=sys.stderr)
        return 2
    be_stopped_by_signals()
    reports: list[Report] = []
    for plan in plans:
        report = played(plan, sources, keep=given.keep)
        if report is None:
            return 130
        print(f"\n{report}")
        reports.append(report)
    if len(reports) > 1:
        print(f"\n{table_of(reports)}")
    if given.json:
        shapes = [report.as_dict() for report in reports]
        given.json.write_text(json.dumps(shapes if len(shapes) > 1 else shapes[0], indent=2) + "\n")
    return 0 if all(report.satisfied for report in reports) else 1


def played(plan: Plan, sources: Sequence[Source], *, keep: bool) -> Report | None:
    """Run it in a folder of its own, which stays if `keep` or if a promise is broken. None if it was interrupted."""
    print(f"seed {plan.seed}, {plan.provider}: {len(plan.enqueues)} jobs, {len(plan.strikes)} blows", file=sys.stderr)
    folder, stays = Path(tempfile.mkdtemp(prefix="horae-chaos-")), True
    try:
        report = run(plan, folder, sources)
        stays = keep or not report.satisfied
    except KeyboardInterrupt:
        stays = keep
        print("\ninterrupted; all processes are stopped", file=sys.stderr)
        return None
    finally:
        if stays:
            print(f"\njournal, record and logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    return report


if __name__ == "__main__":
    raise SystemExit(main())
