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
            says="a synchronous job runs in a thread, which cannot have a hard time limit",
            remedy="Leave isolation='child' (the default), or make the function async.",
        ),
        tiers=PYTHON,
        message="{name} runs in a thread: nothing can stop it when it exceeds its time limit",
        trips=with_job(_thread),
    ),
    JobRule(
        rule=Rule(
            code="HR722",
            level=ERROR,
            says="a scheduled job needs context, but a fire has no context",
            remedy="Give the parameters defaults, or remove the schedule and enqueue the job with its context.",
        ),
        tiers=PYTHON,
        message="{missing}, but its schedule fires it without context",
        trips=with_job(_context),
    ),
    JobRule(
        rule=Rule(
            code="HR723",
            level=ERROR,
            says="a job is a generator function, so calling it runs nothing",
            remedy="Return a value instead of yielding several.",
        ),
        tiers=PYTHON,
        message="{name} is a generator function: calling it does not run its body",
        trips=with_job(_generator),
    ),
    JobRule(
        rule=Rule(
            code="HR724",
            level=WARNING,
            says="the jitter of a job is as long as the time between two fires, or longer",
            remedy="Choose a jitter that is much shorter than the shortest gap between two fires.",
        ),
        tiers=PYTHON,
        message="{name} has a jitter of {jitter} and fires every {gap}",
        trips=_jitter,
    ),
    JobRule(
        rule=Rule(
            code="HR725",
            level=WARNING,
            says="a decorator hides that a job is async, so Horae calls it like a synchronous job",
            remedy="Make the decorator's wrapper `async def` and await the function in it.",
        ),
        tiers=PYTHON,
        message=(
            "{name} is async below its decorator: Horae calls it in a process or thread, and awaits its result "
            "afterwards"
        ),
        trips=with_job(_hidden_async),
    ),
)
