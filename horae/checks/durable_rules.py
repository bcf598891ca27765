"""HR2xx: jobs that do not belong on the queue, and requirements for durable jobs."""

from horae.checks.job_rule import (
    COMPLEX,
    DISTRIBUTED,
    JobRule,
    Subject,
    Tripped,
    any_of_traits,
    spoken,
    when,
    with_job,
)
from horae.errors import unknown
from horae.findings import ERROR, HINT, WARNING, Rule
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Scope, Tier, Trait
from horae.matrix import Frequency
from horae.queues.providers import choice, names

ONEIRIC = frozenset({Tier.ONEIRIC})


def _high(subject: Subject) -> Tripped:
    return when(subject.frequency is Frequency.HIGH, gap=spoken(subject.gap))


def _workflow(subject: Subject) -> Tripped:
    complex_ = sorted(subject.traits & COMPLEX)
    return when(bool(complex_) and Trait.INFRASTRUCTURE not in subject.traits, traits=", ".join(complex_))


def _backend(job: Job) -> Tripped:
    if job.provider is None or job.provider in names():
        return None
    return {"problem": unknown("queue provider", job.provider, names())}


def _forgets(job: Job) -> Tripped:
    drops = Trait.SURVIVES_RESTARTS in job.traits and job.schedule is not None and job.catch_up is CatchUp.NONE
    return when(drops, problem="must survive restarts, but catch_up='none' drops what fell due meanwhile")


DURABLE_RULES: tuple[JobRule, ...] = (
    JobRule(
        rule=Rule(
            code="HR201",
            level=ERROR,
            says="a durable job fires more than once a minute",
            remedy="Split it: the fast check as an internal job (`{internal}/`, APScheduler), which enqueues a durable "
            "job without a schedule when there is something to do.",
            line="Don't use Oneiric for: high-frequency tasks (< 1 minute)",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job that fires every {gap}: each fire is a stored run and a message",
        trips=_high,
    ),
    JobRule(
        rule=Rule(
            code="HR202",
            level=ERROR,
            says="a durable job needs observability",
            remedy="Move it to `{flows}/`, or split it: the flow shows and triggers, the durable job works.",
            line="Don't use Oneiric for: tasks requiring observability",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job that needs {traits}: a queue has no UI, graphs or history",
        trips=any_of_traits(frozenset({Trait.OBSERVABILITY})),
    ),
    JobRule(
        rule=Rule(
            code="HR203",
            level=ERROR,
            says="a durable job is user-facing",
            remedy="Move it to `{flows}/`, or split it: the flow shows and triggers, the durable job works.",
            line="Don't use Oneiric for: user-visible workflows",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job, yet people want it ({traits}): a queue has nothing to look at",
        trips=any_of_traits(frozenset({Trait.DASHBOARD, Trait.USER_TRIGGERED})),
    ),
    JobRule(
        rule=Rule(
            code="HR204",
            level=ERROR,
            says="nothing about a durable job asks for a queue",
            remedy="Move it to `{internal}/`, or declare why it is durable, such as traits=['survives_restarts'].",
            line="Don't use Oneiric for: simple in-process tasks",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job with no trait that asks for the queue",
        trips=lambda subject: when(not subject.traits & DISTRIBUTED),
    ),
    JobRule(
        rule=Rule(
            code="HR211",
            level=ERROR,
            says="a durable job names a queue backend that does not exist",
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
            says="a durable job would not survive a restart",
            remedy="Use catch_up='latest' or 'all'.",
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
            says="a durable job is a workflow rather than infrastructure",
            remedy="Split it: a flow orchestrates the steps, each step a durable job of its own; or put it into one "
            "idempotent job and drop the trait.",
            line="Oneiric: infrastructure-related",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job that claims {traits}: it is retried as a whole, steps are not kept",
        trips=_workflow,
    ),
    JobRule(
        rule=Rule(
            code="HR214",
            level=HINT,
            says="a durable job is not declared idempotent, though nobody watches when it runs again after a crash",
            remedy="Make a second run harmless and say idempotent=True; `current_run().token` tells a late one apart.",
            line="Oneiric: fire-and-forget acceptable",
        ),
        tiers=ONEIRIC,
        message="{name} runs at least once, fired and forgotten, and does not say that a second run does no harm",
        trips=with_job(lambda job: when(not job.idempotent)),
    ),
    JobRule(
        rule=Rule(
            code="HR215",
            level=WARNING,
            says="a durable job is tried again after a failure, and is not declared idempotent",
            remedy="Make a second attempt harmless and say idempotent=True, or drop retry.",
        ),
        tiers=ONEIRIC,
        message="{name} is tried up to {retries} times more, and does not say that a failed attempt does no harm",
        trips=with_job(lambda job: when(job.retry.retries > 0 and not job.idempotent, retries=str(job.retry.retries))),
    ),
    JobRule(
        rule=Rule(
            code="HR221",
            level=ERROR,
            says="a durable job that may change something runs whenever `horae up` starts",
            remedy="Drop run_on_start, or say idempotent=True if a run more does no harm.",
        ),
        tiers=ONEIRIC,
        message="{name} has run_on_start, and does not say that it is idempotent",
        trips=with_job(lambda job: when(job.run_on_start and not job.idempotent)),
    ),
    JobRule(
        rule=Rule(
            code="HR222",
            level=WARNING,
            says="a durable job has a scope, which is a matter of sidecars",
            remedy="Drop scope='each': a durable fire is one run, whoever takes it.",
        ),
        tiers=ONEIRIC,
        message="{name} is a durable job with scope='each', which has no meaning for the queue",
        trips=with_job(lambda job: when(job.scope is Scope.EACH)),
    ),
)
