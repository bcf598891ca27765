"""arq: one asyncio worker, jobs in a sorted set; each is locked, run and removed by transactions of its own."""

from benchmarks.contender import APPS, Contender, number

APP = f"{APPS}.arq_app"
CONTENDER = Contender(
    name="arq",
    app="arq_app",
    setup="max_jobs 100, poll_delay 5 ms, keep_result 0, no log; it keeps no record of a run",
    worker=lambda place: [place.program("arq"), f"{APP}.WorkerSettings", "--custom-log-dict", f"{APP}.QUIET"],
    # A job leaves the queue when it is finished, not when it is begun.
    finished=lambda client, filled: filled - number(client.zcard("arq:queue")),
    share=0.25,
)
