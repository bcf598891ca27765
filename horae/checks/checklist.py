"""The specification's checklists and common mistakes as rules about a job's declaration.

`review` checks a hypothetical job; `check_job` checks a registered one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from horae.checks.durable_rules import DURABLE_RULES
from horae.checks.flow_rules import FLOW_RULES
from horae.checks.internal_rules import INTERNAL_RULES
from horae.checks.job_rule import FOLDERS, JobRule, Subject
from horae.checks.job_rules import JOB_RULES
from horae.checks.project_rules import WRONG_FOLDER
from horae.findings import Finding
from horae.jobs.job import Job
from horae.jobs.policies import Tier, Trait
from horae.matrix import decide
from horae.schedules.kinds import Schedule

if TYPE_CHECKING:  # `horae decide` does not need YAML
    from horae.prefect.yaml.flow_source import FlowSource

CHECKLIST: tuple[JobRule, ...] = (*FLOW_RULES, *DURABLE_RULES, *INTERNAL_RULES, *JOB_RULES)


def review(traits: frozenset[Trait], schedule: Schedule | None) -> list[Finding]:
    """Findings on a job with these traits and this schedule, on the tier that the matrix decides."""
    tier = decide(traits, schedule).tier
    return _look(Subject(tier=tier, traits=traits, schedule=schedule))


def check_job(job: Job, flow: "FlowSource | None" = None, folders: Mapping[str, str] = FOLDERS) -> list[Finding]:
    """Findings on a registered job, and on a flow's source if it is given. `folders`: the folder of each tier."""
    subject = Subject(tier=job.tier, traits=job.traits, schedule=job.schedule, job=job, flow=flow, folders=folders)
    return [*_agrees(job, folders), *_look(subject)]


def _look(subject: Subject) -> list[Finding]:
    return [finding for rule in CHECKLIST if (finding := rule.look(subject)) is not None]


def _agrees(job: Job, folders: Mapping[str, str]) -> list[Finding]:
    """A finding if the job's folder is not the folder of the tier that the matrix decides."""
    decision = decide(job.traits, job.schedule)
    if decision.tier is job.tier or (job.tier is Tier.PREFECT and not job.traits):
        return []  # HR105 reports a flow without a `horae:` tag
    path = ", ".join(f"step {a.step} {a.answer}" for a in decision.path)
    here, there = folders[job.tier.folder], folders[decision.tier.folder]
    message = (
        f"{job.name} is in {here}/ ({job.tier.label}), but the decision matrix leads to {decision.tier.label}: {path} "
    )
    message += f"(`horae explain {job.name}` draws the path)"
    remedy = f"Move it to {there}/ ({decision.reason.rstrip('.')}), or correct the declared traits."
    return [WRONG_FOLDER.finding(message, job=job.name, at=job.source, remedy=remedy)]


__all__ = ["CHECKLIST", "JobRule", "Subject", "check_job", "review"]
