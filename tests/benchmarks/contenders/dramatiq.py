"""Dramatiq: one process of eight threads, the default middleware, messages in a list and a hash."""

from tests.benchmarks.contender import APPS, Contender, number

CONTENDER = Contender(
    name="dramatiq",
    app="dramatiq_app",
    setup="1 process, 8 threads (its default), default middleware, no result backend; no record stays",
    worker=lambda place: [
        place.program("dramatiq"),
        *("--processes", "1"),
        *("--threads", "8"),
        "--skip-logging",
        f"{APPS}.dramatiq_app",
    ],
    # A message leaves this hash when it is acknowledged.
    finished=lambda client, filled: filled - number(client.hlen("dramatiq:default.msgs")),
    share=0.5,
)
