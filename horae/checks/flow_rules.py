"""HR1xx: jobs that do not belong on Prefect, and requirements for flows."""

from horae.checks.job_rule import (
    COMPLEX,
    DISTRIBUTED,
    VISIBLE,
    JobRule,
    Subject,
    Tripped,
    any_of_traits,
    more_than_once_a_minute,
    spoken,
    when,
    with_flow,
    with_job,
)
from horae.findings import ERROR, HINT, WARNING, Rule
from horae.jobs.policies import Tier, Trait
from horae.matrix import Frequency

PREFECT = frozenset({Tier.PREFECT})


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
            remedy="Split it: write the fast check as an internal job (`{internal}/`, APScheduler). Deploy the "
            "flow without a schedule, and let the check trigger it when something has changed.",
            line="Don't use Prefect for: high-frequency checks (< 1 minute)",
        ),
        tiers=PREFECT,
        message="{name} is a flow that fires every {gap}: only the start of a flow run takes seconds of CPU",
        trips=more_than_once_a_minute,
    ),
    JobRule(
        rule=Rule(
            code="HR102",
            level=WARNING,
            says="a flow of a single step fires every hour or more often",
            remedy="Let an internal job do the check and show its result in /health and the metrics. Trigger a "
            "flow when there is something for a person to see.",
            line="Don't use Prefect for: simple health checks (overkill)",
        ),
        tiers=PREFECT,
        message=(
            "{name} is a flow without dependent steps that fires every {gap}: Prefect is more than a simple check needs"
        ),
        trips=_overkill,
    ),
    JobRule(
        rule=Rule(
            code="HR103",
            level=WARNING,
            says=(
                "a flow has a trait that only the queue supports: several machines, surviving restarts, infrastructure"
            ),
            remedy="Split it: do the work in a durable job in `{infra}/` (Oneiric queue), and let a flow enqueue "
            "it and show the result.",
            line="Don't use Prefect for: internal maintenance tasks",
        ),
        tiers=PREFECT,
        message="{name} is a flow with the traits {traits}: Prefect does not restart a run whose worker dies",
        trips=any_of_traits(DISTRIBUTED),
    ),
    JobRule(
        rule=Rule(
            code="HR104",
            level=ERROR,
            says="a flow has no trait that needs Prefect: it is neither user-facing nor a complex workflow",
            remedy="Move it to `{internal}/` or `{infra}/`, or tag the deployment with the reason for Prefect, "
            "such as `horae:dashboard`.",
            line="Don't use Prefect for: tasks without observability needs",
        ),
        tiers=PREFECT,
        message="{name} is a flow without a trait that needs Prefect",
        trips=lambda subject: when(bool(subject.traits) and not subject.traits & (VISIBLE | COMPLEX)),
    ),
    JobRule(
        rule=Rule(
            code="HR105",
            level=WARNING,
            says="a flow has no `horae:` tag, so the decision matrix cannot judge it",
            remedy="Tag the deployment with the reason for Prefect, such as `horae:dashboard`.",
        ),
        tiers=PREFECT,
        message="{name} has no `horae:` tag",
        trips=with_job(lambda job: when(not job.traits)),
    ),
    JobRule(
        rule=Rule(
            code="HR111",
            level=HINT,
            says="a flow has no description for the people who see it",
            remedy="Write a docstring for the flow's function, or a `description` for the deployment.",
            line="Prefect: user needs visibility",
        ),
        tiers=PREFECT,
        message="{name} has no description: the Prefect UI shows only its name",
        trips=lambda subject: when(_is_undescribed(subject)),
    ),
    JobRule(
        rule=Rule(
            code="HR112",
            level=WARNING,
            says="a flow that needs observability prints, and Prefect does not record what it prints",
            remedy="Write `@flow(log_prints=True)`, or log through `get_run_logger()`.",
            line="Prefect: requires observability",
        ),
        tiers=PREFECT,
        message=(
            "{name} prints in line {line} of {file}, and does not set log_prints, so Prefect does not show the text"
        ),
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
            says="a flow has traits of steps, but its source has no steps that Prefect can see",
            remedy="Make each step a `@task`, or remove the trait.",
            line="Prefect: complex workflow/DAG",
        ),
        tiers=PREFECT,
        message="{name} has the traits {traits}, but {file} has neither tasks nor subflows, so Prefect shows no graph",
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
            says="a flow has no retries",
            remedy="Write `@flow(retries=2, retry_delay_seconds=60)`, or retries on its tasks.",
            line="Prefect: needs retry logic",
        ),
        tiers=PREFECT,
        message="{name} declares no retries, on the flow or on a task in {file}",
        trips=with_flow(lambda flow, job: when(flow.retries == 0, file=flow.file)),
    ),
)
