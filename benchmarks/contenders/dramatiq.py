"""Dramatiq: one process of two threads, the default middleware, messages in a list and a hash."""

from collections.abc import Mapping

from benchmarks.contender import APPS, Contender, Place, number


def _environment(place: Place) -> Mapping[str, str]:
    # Twice the threads by default, so that a no-op job waits for the next fetch: this more than doubled its rate.
    return {"dramatiq_queue_prefetch": "1000"}


CONTENDER = Contender(
    name="dramatiq",
    app="dramatiq_app",
    setup="1 process, 2 threads, prefetch 1000, default middleware, no result backend; it keeps no record of a run",
    worker=lambda place: [
        place.program("dramatiq"),
        *("--processes", "1"),
        # Of 1, 2 and 8 (its default), 2 was the fastest: they share one interpreter lock.
        *("--threads", "2"),
        "--skip-logging",
        f"{APPS}.dramatiq_app",
    ],
    # A message leaves this hash when it is acknowledged.
    finished=lambda client, filled: filled - number(client.hlen("dramatiq:default.msgs")),
    share=0.5,
    environment=_environment,
)
