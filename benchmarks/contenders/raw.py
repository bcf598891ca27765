"""The raw client limit: read and acknowledge in batches, with a record for each run."""

from benchmarks.contender import APPS, Contender, number

CONTENDER = Contender(
    name="raw",
    app="raw_app",
    setup="redis-py (sync) with hiredis, batches of 500, one hash for each run, XACK and XDEL; no claim, lease, "
    "retry or log",
    worker=lambda place: [str(place.python), "-m", f"{APPS}.raw_app", "work"],
    finished=lambda client, filled: filled - number(client.xlen("raw")),
    share=5,  # a second of it takes many
    peer=False,
)
