"""From what a job raised to the end of its claim: a retry by the job's policy, or the verdict `failed`."""

import random
import traceback
from datetime import timedelta

from horae.errors import Abandoned, ChildDied, NotBegun, RunFailed, TimedOut, UsageError
from horae.execution.lines import sound
from horae.execution.results import words_of
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.reasons import Reason
from horae.runs import Failure, Verdict
from horae.store.values import Claim, Settlement

TRACEBACK_LIMIT_CHARACTERS = 16_000
MESSAGE_LIMIT_CHARACTERS = 2_000
AFTER_DEATH = timedelta(seconds=1)
"""How long a run that killed its process rests."""


def traceback_of(error: BaseException) -> str:
    return sound("".join(traceback.format_exception(error))[-TRACEBACK_LIMIT_CHARACTERS:])


def kinds_of(error: BaseException) -> list[str]:
    """The names of the exception's class and its bases, for `Retry.not_on`."""
    return [kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException)]


def settlement_of(job: Job, claim: Claim, error: BaseException) -> Settlement:
    """A retry while the job's policy has one left and does not call the error final; else the verdict.

    Only durable runs are retried: an internal job has its next fire.
    """
    if isinstance(error, NotBegun) and job.tier is Tier.ONEIRIC:
        # Handed back: nothing of it was done.
        return Settlement(claim=claim, reason=Reason.PROCESS_DIED, note=words_of(error))
    if isinstance(error, RunFailed):
        said = error.message.removeprefix(f"{error.kind}: ")
        failure = Failure(type=error.kind, message=_cut(said), traceback=error.traceback)
        kinds: tuple[str, ...] = error.kinds
    else:
        failure = Failure(type=type(error).__name__, message=_cut(words_of(error)), traceback=traceback_of(error))
        kinds = tuple(kinds_of(error))
    reason = _reason(error)
    if isinstance(error, ChildDied) and job.tier is Tier.ONEIRIC:
        # However often its policy would try again: the store counts the processes that it kills.
        said = failure.message
        return Settlement(claim=claim, died=True, retry_after=AFTER_DEATH, reason=reason, note=said, failure=failure)
    failures = claim.failures + 1
    final = {UsageError.__name__, *job.retry.not_on}  # a mistake of the user's does not mend itself
    may_retry = job.tier is Tier.ONEIRIC and failures <= job.retry.retries
    if may_retry and not final & set(kinds):
        wait = timedelta(seconds=random.uniform(0, job.retry.ceiling(failures).total_seconds()))
        return Settlement(claim=claim, retry_after=wait, reason=reason, note=failure.message, failure=failure)
    return Settlement(claim=claim, verdict=Verdict.FAILED, reason=reason, failure=failure)


def _reason(error: BaseException) -> Reason:
    if isinstance(error, Abandoned):
        return Reason.ABANDONED
    if isinstance(error, TimedOut):
        return Reason.TIMED_OUT
    return Reason.PROCESS_DIED if isinstance(error, ChildDied) else Reason.RAISED


def _cut(text: str) -> str:
    return text[:MESSAGE_LIMIT_CHARACTERS]
