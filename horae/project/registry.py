"""The shared registry: every job of all three tiers, and what could not be loaded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from horae.errors import InvalidJob, UnknownName, UsageError
from horae.findings import Finding, Level
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.yaml.deployment import Deployment

ORDER = {tier: place for place, tier in enumerate(Tier)}


class Registry:
    """Jobs by name. Iterates by tier (prefect, oneiric, apscheduler), then by name."""

    def __init__(self, ignore: Collection[str] = ()) -> None:
        """`ignore`: codes of warnings that are not kept."""
        self._ignore = frozenset(ignore)
        self._jobs: dict[str, Job] = {}
        self._deployments: dict[str, Deployment] = {}
        self._short: dict[str, list[str]] = {}
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
        self._short.setdefault(job.short_name, []).append(job.name)

    def add_deployment(self, deployment: Deployment) -> None:
        """Register a flow by its deployment; raises like `add`."""
        self.add(deployment.job)
        self._deployments[deployment.job.name] = deployment

    def report(self, *findings: Finding) -> None:
        """Keep what went wrong while loading."""
        self._problems.extend(one for one in findings if one.level is Level.ERROR or one.code not in self._ignore)

    def get(self, name: str) -> Job:
        """The job of that name, or the flow of that short name if no other job has it.

        Raises UnknownName with the nearest one there is, and UsageError naming all whose short name it is.
        """
        if name in self._jobs:
            return self._jobs[name]
        named = self._short.get(name, [])
        if len(named) > 1:
            raise UsageError(f"{name!r} is the short name of {len(named)} jobs; say which: {', '.join(sorted(named))}")
        if not named:
            raise UnknownName("job", name, {*self._jobs, *self._short})
        return self._jobs[named[0]]

    @property
    def ambiguous(self) -> Mapping[str, Sequence[str]]:
        """Short names that stand for several jobs, with the names of these."""
        return {short: sorted(names) for short, names in self._short.items() if len(names) > 1}

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
        """Whether a job has that very name."""
        return name in self._jobs


def _place(job: Job) -> str:
    return f"{job.source.file}:{job.source.line}" if job.source else f"a {job.tier.value} job declared in code"
