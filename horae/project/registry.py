"""The shared registry: every job of all three tiers, and what could not be loaded."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from horae.errors import InvalidJob, UnknownName
from horae.findings import Finding
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.yaml.deployment import Deployment

ORDER = {tier: place for place, tier in enumerate(Tier)}


class Registry:
    """Jobs by name. Iterates by tier (prefect, oneiric, apscheduler), then by name."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._deployments: dict[str, Deployment] = {}
        self._problems: list[Finding] = []

    def add(self, job: Job) -> None:
        """Register a job; raises InvalidJob, naming both places, if its name is taken."""
        other = self._jobs.get(job.name)
        if other is not None:
            raise InvalidJob(
                f"two jobs are named {job.name!r}: {_place(other)} and {_place(job)}. "
                "A name is unique over all three tiers; rename one"
            )
        self._jobs[job.name] = job

    def add_deployment(self, deployment: Deployment) -> None:
        """Register a flow by its deployment; raises like `add`."""
        self.add(deployment.job)
        self._deployments[deployment.job.name] = deployment

    def report(self, *findings: Finding) -> None:
        """Keep what went wrong while loading."""
        self._problems.extend(findings)

    def get(self, name: str) -> Job:
        """The job of that name; raises UnknownName with the nearest one there is."""
        try:
            return self._jobs[name]
        except KeyError:
            raise UnknownName("job", name, self._jobs) from None

    def by_tier(self, tier: Tier) -> tuple[Job, ...]:
        return tuple(job for job in self if job.tier is tier)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(job.name for job in self)

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        """What prefect.yaml says of each flow, by job name."""
        return MappingProxyType(self._deployments)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What could not be loaded, and what loading saw to be wrong."""
        return tuple(self._problems)

    def __iter__(self) -> Iterator[Job]:
        return iter(sorted(self._jobs.values(), key=lambda job: (ORDER[job.tier], job.name)))

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, name: object) -> bool:
        return name in self._jobs


def _place(job: Job) -> str:
    return f"{job.source.file}:{job.source.line}" if job.source else f"a {job.tier.value} job declared in code"
