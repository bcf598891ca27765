"""docket: one asyncio worker on Redis streams, each execution with a record in a hash."""

from benchmarks.contender import APPS, Contender, Place, number


def _worker(place: Place) -> list[str]:
    return [
        place.program("docket"),
        "worker",
        *("--docket", "bench"),
        # Its slots each want a connection, and the client allows 100 unless the URL says more: then it loses jobs.
        *("--url", f"{place.url}?max_connections=2000"),
        *("--tasks", f"{APPS}.docket_app:tasks"),
        # Full, it rests for a tenth of a second, so that slots bound its rate: 50 gave 500 jobs a second.
        *("--concurrency", "500"),
        *("--logging-level", "WARNING"),
    ]


CONTENDER = Contender(
    name="docket",
    app="docket_app",
    setup="concurrency 500, log from WARNING; it keeps a record of each execution for 15 minutes",
    worker=_worker,
    # Acknowledged and deleted in one step at the end.
    finished=lambda client, filled: filled - number(client.xlen("bench:stream")),
    share=0.25,
)
