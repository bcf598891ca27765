"""All contenders, in the order of the table: a file each."""

from benchmarks.contenders import arq, celery, docket, dramatiq, horae, raw, saq, taskiq

ALL = (
    horae.CONTENDER,
    raw.CONTENDER,
    arq.CONTENDER,
    saq.CONTENDER,
    taskiq.CONTENDER,
    dramatiq.CONTENDER,
    celery.CONTENDER,
    docket.CONTENDER,
)
