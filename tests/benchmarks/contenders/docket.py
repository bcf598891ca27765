"""docket: one asyncio worker on Redis streams, each execution with a record in a hash."""

from tests.benchmarks.contender import APPS, Contender, Place, number


def _worker(place: Place) -> list[str]:
    return [
        place.program("docket"),
        "worker",
        *("--docket", "bench"),
        *("--url", place.url),
        *("--tasks", f"{APPS}.docket_app:tasks"),
        *("--concurrency", "100"),
        *("--logging-level", "WARNING"),
    ]


CONTENDER = Contender(
    name="docket",
    app="docket_app",
    setup="concurrency 100, logged from WARNING; a record of each execution stays for 15 minutes",
    worker=_worker,
    # Acknowledged and deleted in one step at the end.
    finished=lambda client, filled: filled - number(client.xlen("bench:stream")),
    share=0.25,
)
