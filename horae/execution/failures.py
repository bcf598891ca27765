"""Converts an exception of a job to the end of its claim: a retry by the job's policy, or the verdict `failed`."""

import random
import traceback
from datetime import timedelta

from horae.errors import Abandoned, ChildDied, NotBegun, RunFailed, TimedOut, UsageError
from horae.execution.lines import sound
from horae.execution.results import kinds_of, name_of, words_of
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.reasons import Reason
from horae.runs import Failure, Verdict
from horae.store.values import Claim, Settlement

TRACEBACK_LIMIT_CHARACTERS = 16_000
MESSAGE_LIMIT_CHARACTERS = 2_000
_traceback = BaseException.__dict__["__traceback__"].__get__
_exit_code = SystemExit.__dict__["code"].__get__
AFTER_DEATH = timedelta(seconds=1)
"""How long a run that killed its process waits before the next attempt."""


def raised(error: BaseException) -> RunFailed:
    """An exception of a job as text; never raises. The text has no reference to objects of the job."""
    message = words_of(error)[:MESSAGE_LIMIT_CHARACTERS]
    return RunFailed(name_of(error), message, traceback_of(error), kinds_of(error))


def traceback_of(error: BaseException) -> str:
    """The last TRACEBACK_LIMIT_CHARACTERS characters. If an exception cannot be formatted, the traceback without its
    message.
    """
    try:
        lines = traceback.format_exception(error)
    except BaseException:  # formatting reads attributes of the exception and its causes, which may run any code
        lines = [*_frames_of(error), f"{name_of(error)}: {words_of(error)}"]
    return sound("".join(lines)[-TRACEBACK_LIMIT_CHARACTERS:])


def _frames_of(error: BaseException) -> list[str]:
    try:
        return ["Traceback (most recent call last):\n", *traceback.format_tb(_traceback(error))]
    except BaseException:
        return []


def exits_well(error: BaseException) -> bool:
    """Whether it is `sys.exit()` with a status that means success: none, or 0."""
    if not issubclass(type(error), SystemExit):
        return False
    code = _exit_code(error)
    return code is None or (type(code) in (int, bool) and code == 0)


def settlement_of(job: Job, claim: Claim, error: BaseException) -> Settlement:
    """A retry if the job's policy has one left and the error is not final; else the verdict. Only durable runs are
    retried, because an internal job has its next fire.
    """
    if isinstance(error, NotBegun) and job.tier is Tier.ONEIRIC:
        # Hand it back, because the job did not begin.
        return Settlement(claim=claim, reason=Reason.PROCESS_DIED, note=words_of(error))
    told = error if isinstance(error, RunFailed) else raised(error)
    cause = error.__cause__
    # at the place in the job where it was stopped
    where = cause.traceback if isinstance(cause, RunFailed) else told.traceback
    failure = Failure(type=told.kind, message=told.said, traceback=where)
    reason = _reason(error)
    if isinstance(error, ChildDied) and job.tier is Tier.ONEIRIC:
        # Do not use the policy of the job: the store counts the processes that the run kills.
        said = failure.message
        return Settlement(claim=claim, died=True, retry_after=AFTER_DEATH, reason=reason, note=said, failure=failure)
    failures = claim.failures + 1
    final = {UsageError.__name__, *job.retry.not_on}  # a mistake of the user does not disappear by a retry
    may_retry = job.tier is Tier.ONEIRIC and failures <= job.retry.retries
    if may_retry and not final & set(told.kinds):
        wait = timedelta(seconds=random.uniform(0, job.retry.ceiling(failures).total_seconds()))
        return Settlement(claim=claim, retry_after=wait, reason=reason, note=failure.message, failure=failure)
    return Settlement(claim=claim, verdict=Verdict.FAILED, reason=reason, failure=failure)


def _reason(error: BaseException) -> Reason:
    if isinstance(error, Abandoned):
        return Reason.ABANDONED
    if isinstance(error, TimedOut):
        return Reason.TIMED_OUT
    return Reason.PROCESS_DIED if isinstance(error, ChildDied) else Reason.RAISED
