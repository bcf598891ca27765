"""HR3xx: jobs that do not belong inside the sidecar, and requirements for internal jobs."""

from datetime import timedelta

from horae.checks.job_rule import COMPLEX, VISIBLE, JobRule, Subject, Tripped, any_of_traits, spoken, when, with_job
from horae.findings import ERROR, HINT, WARNING, Rule
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Overlap, Scope, Tier, Trait
from horae.matrix import Frequency

APSCHEDULER = frozenset({Tier.APSCHEDULER})
FAST = timedelta(seconds=5)
LONG = timedelta(minutes=5)
WAITING = frozenset({Overlap.QUEUE, Overlap.CANCEL_OTHER})


def _limit(job: Job) -> str:
    return f"a time limit of {spoken(job.time_limit)}" if job.time_limit else "no time limit"


def _long(job: Job) -> Tripped:
    return when(job.time_limit is None or job.time_limit > LONG, limit=_limit(job))


def _slow(job: Job) -> Tripped:
    return when(job.time_limit is not None and FAST < job.time_limit <= LONG, limit=_limit(job))


def _needs_store(subject: Subject) -> Tripped:
    claimed = subject.job is not None and subject.job.scope is Scope.ONE
    return when(claimed and subject.frequency is Frequency.HIGH, gap=spoken(subject.gap))


def _unheeded(job: Job) -> Tripped:
    given = {
        "retry": job.retry.retries > 0,
        "concurrency": job.concurrency,
        "unique_by": job.unique_by is not None,
        "needs": job.needs,
    }
    found = [name for name, there in given.items() if there]
    return when(bool(found), settings=" and ".join(found))


INTERNAL_RULES: tuple[JobRule, ...] = (
    JobRule(
        rule=Rule(
            code="HR301",
            level=ERROR,
            says="an internal job is user-facing",
            remedy="Move it to `{flows}/`. If it must also be fast, keep the check here and trigger a flow.",
            line="Don't use APScheduler for: user-facing workflows (no UI)",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with the traits {traits}: the sidecar has no UI",
        trips=any_of_traits(VISIBLE),
    ),
    JobRule(
        rule=Rule(
            code="HR302",
            level=ERROR,
            says="an internal job may run for more than five minutes",
            remedy="Move it to `{infra}/`, where a run survives its process, or write time_limit=timedelta(seconds=5).",
            line="Don't use APScheduler for: long-running tasks (> 5 minutes)",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with {limit}",
        trips=with_job(_long),
    ),
    JobRule(
        rule=Rule(
            code="HR303",
            level=ERROR,
            says="an internal job needs distributed execution",
            remedy="Move it to `{infra}/`: queue workers run on any number of machines.",
            line="Don't use APScheduler for: tasks needing distributed execution",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with the traits {traits}: it runs in one sidecar",
        trips=any_of_traits(frozenset({Trait.MULTI_MACHINE, Trait.INFRASTRUCTURE})),
    ),
    JobRule(
        rule=Rule(
            code="HR304",
            level=ERROR,
            says="an internal job must not be lost",
            remedy="Move it to `{infra}/`: an accepted run there survives its process.",
            line="Don't use APScheduler for: tasks requiring durability",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with the traits {traits}: its run is lost if the sidecar dies",
        trips=any_of_traits(frozenset({Trait.SURVIVES_RESTARTS})),
    ),
    JobRule(
        rule=Rule(
            code="HR311",
            level=ERROR,
            says="an internal job names a queue provider, but it runs in the sidecar",
            remedy="Remove provider, or move the job to `{infra}/`.",
            line="APScheduler: runs in same process",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with provider={provider}: an internal job never goes through a queue",
        trips=with_job(lambda job: when(job.provider is not None, provider=repr(job.provider))),
    ),
    JobRule(
        rule=Rule(
            code="HR312",
            level=HINT,
            says="an internal job that fires more than once a minute depends on the store",
            remedy="Write scope='each' if every sidecar may run it. Then it does not need the store.",
            line="APScheduler: no external dependencies required",
        ),
        tiers=APSCHEDULER,
        message="{name} fires every {gap} and claims each fire in the store: it does not run while the store is down",
        trips=_needs_store,
    ),
    JobRule(
        rule=Rule(
            code="HR313",
            level=HINT,
            says="an internal job may run for more than five seconds",
            remedy="Write time_limit=timedelta(seconds=5). Move work that takes longer to `{infra}/`.",
            line="APScheduler: fast execution (< 5 seconds)",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with {limit}",
        trips=with_job(_slow),
    ),
    JobRule(
        rule=Rule(
            code="HR314",
            level=WARNING,
            says="an internal job catches up every missed fire",
            remedy="Write catch_up='latest', or move the job to `{infra}/`, where no fire is lost.",
            line="APScheduler: can be lost if the process crashes",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with catch_up='all': a run that is active during a crash is still lost",
        trips=with_job(lambda job: when(job.catch_up is CatchUp.ALL)),
    ),
    JobRule(
        rule=Rule(
            code="HR315",
            level=WARNING,
            says="an internal job has settings that apply only to durable jobs",
            remedy="Remove them, or move the job to `{infra}/`: an internal job has no queue, and its next fire is "
            "its retry.",
        ),
        tiers=APSCHEDULER,
        message="{name} is an internal job with {settings}: the sidecar ignores this",
        trips=with_job(_unheeded),
    ),
    JobRule(
        rule=Rule(
            code="HR316",
            level=WARNING,
            says="an internal job has an overlap policy in which a fire waits for the previous run or ends it",
            remedy="Use overlap='skip' or 'allow', or move the job to `{infra}/`, where a fire can wait.",
        ),
        tiers=APSCHEDULER,
        message=(
            "{name} is an internal job with overlap='{overlap}': a fire that cannot begin gets the verdict "
            "`skipped: overlap`"
        ),
        trips=with_job(lambda job: when(job.overlap in WAITING, overlap=job.overlap.value)),
    ),
    JobRule(
        rule=Rule(
            code="HR321",
            level=WARNING,
            says="an internal job is a workflow and runs every hour or more often",
            remedy="Keep one small step here. Let it trigger a flow or enqueue a durable job for the rest.",
        ),
        tiers=APSCHEDULER,
        message="{name} has the traits {traits}: the sidecar neither keeps nor shows steps",
        trips=any_of_traits(COMPLEX),
    ),
)
