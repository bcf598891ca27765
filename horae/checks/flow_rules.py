"""HR1xx: jobs that do not belong on Prefect, and requirements for flows."""

from horae.checks.job_rule import (
    COMPLEX,
    DISTRIBUTED,
    VISIBLE,
    JobRule,
    Subject,
    Tripped,
    any_of_traits,
    spoken,
    when,
    with_flow,
    with_job,
)
from horae.findings import ERROR, HINT, WARNING, Rule
from horae.jobs.policies import Tier, Trait
from horae.matrix import Frequency

PREFECT = frozenset({Tier.PREFECT})


def _high(subject: Subject) -> Tripped:
    return when(subject.frequency is Frequency.HIGH, gap=spoken(subject.gap))


def _is_undescribed(subject: Subject) -> bool:
    unread = subject.flow is not None and bool(subject.flow.unread)
    return subject.job is not None and not subject.job.description.strip() and not unread


def _overkill(subject: Subject) -> Tripped:
    simple = not subject.traits & COMPLEX
    return when(subject.frequency is Frequency.MEDIUM and simple, gap=spoken(subject.gap))


FLOW_RULES: tuple[JobRule, ...] = (
    JobRule(
        rule=Rule(
            code="HR101",
            level=ERROR,
            says="a flow fires more than once a minute",
            remedy="Split it: the fast check as an internal job (`{internal}/`, APScheduler), which triggers the flow, "
            "deployed without a schedule, when something has changed.",
            line="Don't use Prefect for: high-frequency checks (< 1 minute)",
        ),
        tiers=PREFECT,
        message="{name} is a flow that fires every {gap}: starting a flow run alone takes seconds of CPU",
        trips=_high,
    ),
    JobRule(
        rule=Rule(
            code="HR102",
            level=WARNING,
            says="a flow of a single step fires every hour or more often",
            remedy="Let an internal job do the check and show its result in /health and the metrics; trigger a flow "
            "when a person has something to see.",
            line="Don't use Prefect for: simple health checks (overkill)",
        ),
        tiers=PREFECT,
        message="{name} is a flow without dependent steps that fires every {gap}: overkill for a simple check",
        trips=_overkill,
    ),
    JobRule(
        rule=Rule(
            code="HR103",
            level=WARNING,
            says="a flow claims what only the queue gives: several machines, surviving restarts, infrastructure",
            remedy="Split it: the work as a durable job in `{infra}/` (Oneiric queue), and a flow that enqueues it and "
            "shows what became of it.",
            line="Don't use Prefect for: internal maintenance tasks",
        ),
        tiers=PREFECT,
        message="{name} is a flow, yet needs {traits}: a run whose worker dies is not taken up again by itself",
        trips=any_of_traits(DISTRIBUTED),
    ),
    JobRule(
        rule=Rule(
            code="HR104",
            level=ERROR,
            says="nobody needs to see a flow, and it is not complex either",
            remedy="Move it to `{internal}/` or `{infra}/`, or tag the deployment with what it needs Prefect for, "
            "such as `horae:dashboard`.",
            line="Don't use Prefect for: tasks without observability needs",
        ),
        tiers=PREFECT,
        message="{name} is a flow with no trait that asks for Prefect",
        trips=lambda subject: when(bool(subject.traits) and not subject.traits & (VISIBLE | COMPLEX)),
    ),
    JobRule(
        rule=Rule(
            code="HR105",
            level=WARNING,
            says="a flow has no `horae:` tag, so the decision matrix cannot judge it",
            remedy="Tag the deployment with what it needs Prefect for, such as `horae:dashboard`.",
        ),
        tiers=PREFECT,
        message="{name} has no `horae:` tag",
        trips=with_job(lambda job: when(not job.traits)),
    ),
    JobRule(
        rule=Rule(
            code="HR111",
            level=HINT,
            says="a flow does not say what it is to the people who see it",
            remedy="Give the flow's function a docstring, or the deployment a `description`.",
            line="Prefect: user needs visibility",
        ),
        tiers=PREFECT,
        message="{name} has no description: in the Prefect UI it is a name only",
        trips=lambda subject: when(_is_undescribed(subject)),
    ),
    JobRule(
        rule=Rule(
            code="HR112",
            level=WARNING,
            says="a flow that needs observability prints what Prefect does not record",
            remedy="Write `@flow(log_prints=True)`, or log through `get_run_logger()`.",
            line="Prefect: requires observability",
        ),
        tiers=PREFECT,
        message="{name} prints in line {line} of {file}, and does not set log_prints: Prefect will not show it",
        trips=with_flow(
            lambda flow, job: when(
                flow.silent_print is not None and bool(job.traits & {Trait.OBSERVABILITY, Trait.DASHBOARD}),
                line=str(flow.silent_print),
                file=flow.file,
            )
        ),
    ),
    JobRule(
        rule=Rule(
            code="HR113",
            level=WARNING,
            says="a flow claims steps, but its source has none that Prefect could see",
            remedy="Make each step a `@task`, or drop the trait.",
            line="Prefect: complex workflow/DAG",
        ),
        tiers=PREFECT,
        message="{name} claims {traits}, but {file} has neither tasks nor subflows: there will be no graph",
        trips=with_flow(
            lambda flow, job: when(
                bool(job.traits & COMPLEX) and not flow.has_tasks,
                traits=", ".join(sorted(job.traits & COMPLEX)),
                file=flow.file,
            )
        ),
    ),
    JobRule(
        rule=Rule(
            code="HR114",
            level=HINT,
            says="a flow does not retry",
            remedy="Write `@flow(retries=2, retry_delay_seconds=60)`, or retries on its tasks.",
            line="Prefect: needs retry logic",
        ),
        tiers=PREFECT,
        message="{name} declares no retries, neither on the flow nor on a task in {file}",
        trips=with_flow(lambda flow, job: when(flow.retries == 0, file=flow.file)),
    ),
)
