"""`make bench`: measure, show one table, write JSON, leave nothing running."""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import contenders, report
from benchmarks.bench import Bench, say
from benchmarks.figures import Figure
from benchmarks.goals import goals
from benchmarks.measurements import dispatch, drain, enqueue, idle, internal, pickup, providers, steps, throughput
from benchmarks.options import Options, parse
from benchmarks.processes import INTERRUPTS, Processes
from benchmarks.valkey import Valkey

MEASURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    one.NAME: one.measure for one in (throughput, enqueue, pickup, providers, dispatch, drain, internal, idle, steps)
}
COMPARED = {one.NAME for one in (throughput, enqueue, pickup)}
"""The measurements of all contenders. The others need none."""


def run(options: Options) -> int:
    """Returns the exit status: 1 if something could not be measured."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="horae-bench-") as name:
        folder = Path(name)
        with Processes(lambda text: say(text, began)) as processes:
            valkey = Valkey(processes, folder)
            bench = Bench(options=options, folder=folder, processes=processes, valkey=valkey, began=began)
            if COMPARED & set(options.only):
                bench.settle_in([one for one in contenders.ALL if one.name in options.contenders])
            figures = [figure for measurement in options.only for figure in MEASURES[measurement](bench)]
            reached = goals(figures)
            report.write(bench, figures, reached)
    report.show(figures, reached, bench.failures)
    say(f"written to {options.report}", began)
    return 1 if bench.failures else 0


def main() -> int:
    options = parse(sys.argv[1:])
    # A bench that is terminated ends like one that is interrupted.
    for sign in INTERRUPTS:
        signal.signal(sign, signal.default_int_handler)
    try:
        return run(options)
    except KeyboardInterrupt:
        print("interrupted; all processes are stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
