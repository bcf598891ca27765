"""HR2xx: jobs that do not belong on the queue, and requirements for durable jobs."""

from horae.checks.job_rule import (
    COMPLEX,
    DISTRIBUTED,
    JobRule,
    Subject,
    Tripped,
    any_of_traits,
    more_than_once_a_minute,
    when,
    with_job,
)
from horae.errors import unknown
from horae.findings import ERROR, HINT, WARNING, Rule
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Scope, Tier, Trait
from horae.queues.providers import choice, names

ONEIRIC = frozenset({Tier.ONEIRIC})


def _workflow(subject: Subject) -> Tripped:
    complex_ = sorted(subject.traits & COMPLEX)
    return when(bool(complex_) and Trait.INFRASTRUCTURE not in subject.traits, traits=", ".join(complex_))


def _backend(job: Job) -> Tripped:
    if job.provider is None or job.provider in names():
        return None
    return {"problem": unknown("queue provider", job.provider, names())}


def _forgets(job: Job) -> Tripped:
    drops = Trait.SURVIVES_RESTARTS in job.traits and job.schedule is not None and job.catch_up is CatchUp.NONE
    return when(
        drops,
        problem=(
            "has the trait survives_restarts, but catch_up='none' drops the fires that were due during a downtime"
        ),
    )


DURABLE_RULES: tuple[JobRule, ...] = (
    JobRule(
        rule=Rule(
            code="HR201",
            level=ERROR,
            says="a durable job fires more than once a minute",
            remedy="Split it: write the fast check as an internal job (`{internal}/`, APScheduler). Let the check "
            "enqueue a durable job without a schedule when there is work.",
            line="Don't use Oneiric for: high-frequency tasks (< 1 minute)",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job that fires every {gap}: each fire costs a stored run and a message",
        trips=more_than_once_a_minute,
    ),
    JobRule(
        rule=Rule(
            code="HR202",
            level=ERROR,
            says="a durable job needs observability",
            remedy="Move it to `{flows}/`, or split it: a flow for display and start, and a durable job for the work.",
            line="Don't use Oneiric for: tasks requiring observability",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job with the traits {traits}: a queue has no UI, graphs or history",
        trips=any_of_traits(frozenset({Trait.OBSERVABILITY})),
    ),
    JobRule(
        rule=Rule(
            code="HR203",
            level=ERROR,
            says="a durable job is user-facing",
            remedy="Move it to `{flows}/`, or split it: a flow for display and start, and a durable job for the work.",
            line="Don't use Oneiric for: user-visible workflows",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job with the traits {traits}: a queue has no UI for users",
        trips=any_of_traits(frozenset({Trait.DASHBOARD, Trait.USER_TRIGGERED})),
    ),
    JobRule(
        rule=Rule(
            code="HR204",
            level=ERROR,
            says="a durable job has no trait that needs the queue",
            remedy=(
                "Move it to `{internal}/`, or declare the trait that makes it durable, such as "
                "traits=['survives_restarts']."
            ),
            line="Don't use Oneiric for: simple in-process tasks",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job without a trait that needs the queue",
        trips=lambda subject: when(not subject.traits & DISTRIBUTED),
    ),
    JobRule(
        rule=Rule(
            code="HR211",
            level=ERROR,
            says="a durable job names an unknown queue provider",
            remedy=f"Use {choice()}, or leave provider out.",
            line="Oneiric: needs queue backend (Redis/CloudTasks/etc.)",
        ),
        tiers=ONEIRIC,
        message="{name}: {problem}",
        trips=with_job(_backend),
    ),
    JobRule(
        rule=Rule(
            code="HR212",
            level=WARNING,
            says="a durable job that must survive a restart drops missed fires",
            remedy="Write catch_up='latest' or catch_up='all'.",
            line="Oneiric: must survive app restarts",
        ),
        tiers=ONEIRIC,
        message="{name} {problem}",
        trips=with_job(_forgets),
    ),
    JobRule(
        rule=Rule(
            code="HR213",
            level=WARNING,
            says="a durable job is a workflow, and not infrastructure",
            remedy="Split it: a flow orchestrates the steps, and each step is a durable job. Or write one "
            "idempotent job and remove the trait.",
            line="Oneiric: infrastructure-related",
        ),
        tiers=ONEIRIC,
        message=(
            "{name} is a durable job with the traits {traits}: Horae retries it as a whole and does not keep its steps"
        ),
        trips=_workflow,
    ),
    JobRule(
        rule=Rule(
            code="HR214",
            level=HINT,
            says=(
                "a durable job does not declare idempotent=True, although it can run again after a crash without "
                "anyone noticing"
            ),
            remedy=(
                "Make a second run harmless and write idempotent=True. With `current_run().token` the job can "
                "recognize a late run."
            ),
            line="Oneiric: fire-and-forget acceptable",
        ),
        tiers=ONEIRIC,
        message="{name} runs at least once, so it can run twice, and it does not declare idempotent=True",
        trips=with_job(lambda job: when(not job.idempotent)),
    ),
    JobRule(
        rule=Rule(
            code="HR215",
            level=WARNING,
            says="a durable job has retries, and does not declare idempotent=True",
            remedy="Make a second attempt harmless and write idempotent=True, or remove retry.",
        ),
        tiers=ONEIRIC,
        message="{name} retries up to {retries} times after a failure, and does not declare idempotent=True",
        trips=with_job(lambda job: when(job.retry.retries > 0 and not job.idempotent, retries=str(job.retry.retries))),
    ),
    JobRule(
        rule=Rule(
            code="HR221",
            level=ERROR,
            says=(
                "a durable job with run_on_start does not declare idempotent=True, although it runs whenever "
                "`horae up` starts"
            ),
            remedy="Remove run_on_start, or write idempotent=True if an additional run is harmless.",
        ),
        tiers=ONEIRIC,
        message="{name} has run_on_start, and does not declare idempotent=True",
        trips=with_job(lambda job: when(job.run_on_start and not job.idempotent)),
    ),
    JobRule(
        rule=Rule(
            code="HR222",
            level=WARNING,
            says="a durable job has scope='each', which applies only to internal jobs",
            remedy="Remove scope='each': a fire of a durable job is one run, on any worker.",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job with scope='each', which has no effect on the queue",
        trips=with_job(lambda job: when(job.scope is Scope.EACH)),
    ),
)
