"""HR72x: rules for Python jobs, durable and internal."""

import inspect

from horae.checks.job_rule import JobRule, Subject, Tripped, missing_context, spoken, when, with_job
from horae.findings import ERROR, WARNING, Rule
from horae.jobs.job import Job
from horae.jobs.policies import Isolation, Tier

PYTHON = frozenset({Tier.ONEIRIC, Tier.APSCHEDULER})


def _thread(job: Job) -> Tripped:
    return when(job.function is not None and not job.is_async and job.isolation is Isolation.THREAD)


def _context(job: Job) -> Tripped:
    missing = missing_context(job) if job.schedule is not None or job.run_on_start else ""
    return when(bool(missing), missing=missing)


def _generator(job: Job) -> Tripped:
    function = _undecorated(job)
    return when(inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function))


def _hidden_async(job: Job) -> Tripped:
    return when(not job.is_async and inspect.iscoroutinefunction(_undecorated(job)))


def _undecorated(job: Job) -> object:
    """The function below decorators that say what they wrap, as functools.wraps does."""
    try:
        return inspect.unwrap(job.function) if job.function else None
    except ValueError:  # decorators that wrap each other
        return job.function


def _jitter(subject: Subject) -> Tripped:
    job, gap = subject.job, subject.gap
    if job is None or gap is None or not job.jitter or job.jitter < gap:
        return None
    return {"jitter": spoken(job.jitter), "gap": spoken(gap)}


JOB_RULES: tuple[JobRule, ...] = (
    JobRule(
        rule=Rule(
            code="HR721",
            level=WARNING,
            says="a synchronous job runs in a thread, which has no hard time limit",
            remedy="Leave isolation='child' (the default), or make the function async.",
        ),
        tiers=PYTHON,
        message="{name} runs in a thread: nothing can stop it when it goes over its time limit",
        trips=with_job(_thread),
    ),
    JobRule(
        rule=Rule(
            code="HR722",
            level=ERROR,
            says="a scheduled job needs context, which a fire does not have",
            remedy="Give the parameters defaults, or drop the schedule and enqueue the job with its context.",
        ),
        tiers=PYTHON,
        message="{missing}, but fires by schedule, without any",
        trips=with_job(_context),
    ),
    JobRule(
        rule=Rule(
            code="HR723",
            level=ERROR,
            says="a job is a generator, which does nothing when it is called",
            remedy="Return a value instead of yielding several.",
        ),
        tiers=PYTHON,
        message="{name} is a generator function: calling it runs none of it",
        trips=with_job(_generator),
    ),
    JobRule(
        rule=Rule(
            code="HR724",
            level=WARNING,
            says="a job's jitter is as long as the time between its fires, or longer",
            remedy="Choose a jitter well below the shortest gap between two fires.",
        ),
        tiers=PYTHON,
        message="{name} has a jitter of {jitter} and fires every {gap}",
        trips=_jitter,
    ),
    JobRule(
        rule=Rule(
            code="HR725",
            level=WARNING,
            says="a decorator hides that a job is async, so that it is called like a synchronous one",
            remedy="Make the decorator's wrapper `async def` and await the function in it.",
        ),
        tiers=PYTHON,
        message="{name} is async below its decorator: it is called in a process or thread, and then awaited",
        trips=with_job(_hidden_async),
    ),
)
