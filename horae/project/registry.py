"""The shared registry: every job of all three tiers, and the findings about those that could not be loaded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from horae.errors import InvalidJob, UnknownName, UsageError
from horae.findings import Finding, Level
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.yaml.deployment import Deployment

ORDER = {tier: place for place, tier in enumerate(Tier)}


class Registry:
    """Jobs by name. Iteration is ordered by tier (prefect, oneiric, apscheduler), then by name."""

    def __init__(self, ignore: Collection[str] = ()) -> None:
        """`ignore`: codes of warnings to drop."""
        self._ignore = frozenset(ignore)
        self._jobs: dict[str, Job] = {}
        self._deployments: dict[str, Deployment] = {}
        self._short: dict[str, list[str]] = {}
        self._problems: list[Finding] = []

    def add(self, job: Job) -> None:
        """Register a job. Raises InvalidJob with both places if another job has the name."""
        other = self._jobs.get(job.name)
        if other is not None:
            raise InvalidJob(
                f"two jobs have the name {job.name!r}: {_place(other)} and {_place(job)}. A name must be unique in "
                "all three tiers; rename one of them"
            )
        self._jobs[job.name] = job
        self._short.setdefault(job.short_name, []).append(job.name)

    def add_deployment(self, deployment: Deployment) -> None:
        """Register a flow by its deployment. Raises the same errors as `add`."""
        self.add(deployment.job)
        self._deployments[deployment.job.name] = deployment

    def report(self, *findings: Finding) -> None:
        """Add findings from loading."""
        self._problems.extend(one for one in findings if one.level is Level.ERROR or one.code not in self._ignore)

    def get(self, name: str) -> Job:
        """The job with this name, or the flow with this short name if it is unique.

        Raises UnknownName with the nearest known name, and UsageError with all jobs that share the short name.
        """
        if name in self._jobs:
            return self._jobs[name]
        named = self._short.get(name, [])
        if len(named) > 1:
            raise UsageError(
                f"{name!r} is the short name of {len(named)} jobs; give the full name: {', '.join(sorted(named))}"
            )
        if not named:
            raise UnknownName("job", name, {*self._jobs, *self._short})
        return self._jobs[named[0]]

    @property
    def ambiguous(self) -> Mapping[str, Sequence[str]]:
        """Short names that several jobs share, with the full names of these jobs."""
        return {short: sorted(names) for short, names in self._short.items() if len(names) > 1}

    def by_tier(self, tier: Tier) -> tuple[Job, ...]:
        return tuple(job for job in self if job.tier is tier)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(job.name for job in self)

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        """The deployment of each flow in prefect.yaml, by job name."""
        return MappingProxyType(self._deployments)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings from loading: jobs that could not be loaded, and other faults."""
        return tuple(self._problems)

    def __iter__(self) -> Iterator[Job]:
        return iter(sorted(self._jobs.values(), key=lambda job: (ORDER[job.tier], job.name)))

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, name: object) -> bool:
        """Whether a job has exactly this full name."""
        return name in self._jobs


def _place(job: Job) -> str:
    return f"{job.source.file}:{job.source.line}" if job.source else f"a {job.tier.value} job declared in code"
