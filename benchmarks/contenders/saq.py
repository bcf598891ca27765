"""SAQ: one asyncio worker whose coroutines each take a job from a list, write it back as active, run and finish it."""

from benchmarks.contender import APPS, Contender, number

CONTENDER = Contender(
    name="saq",
    app="saq_app",
    setup="concurrency 20, log from WARNING; the job stays in the store for 600 s",
    worker=lambda place: [place.program("saq"), f"{APPS}.saq_app.settings", "--quiet"],
    finished=lambda client, filled: filled - number(client.zcard("saq:default:incomplete")),
    share=0.25,
)
