"""Celery on Redis: one process that runs tasks itself."""

from benchmarks.contender import APPS, Contender, number

CONTENDER = Contender(
    name="celery",
    app="celery_app",
    setup="solo pool, prefetch 64, results ignored, no gossip, mingle, heartbeat or events; it keeps no record of "
    "a run",
    worker=lambda place: [
        place.program("celery"),
        *("--app", f"{APPS}.celery_app"),
        "worker",
        # Without handing tasks to a child or a thread: of the three, the fastest for a task that does nothing.
        *("--pool", "solo"),
        *("--loglevel", "WARNING"),
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ],
    # Acknowledged when a task begins, which is its default; a no-op has ended by then but for microseconds.
    finished=lambda client, filled: filled - number(client.llen("celery")) - number(client.hlen("unacked")),
    share=0.25,
)
