"""The sources of a run: which they are, and the steps for one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flows._etl import databases, files, git, knowledge, transforming
from flows._etl.settings import EtlSettings, SourceSettings
from flows._etl.staged import Extracted, Known
from flows._etl.transforming import Transformed
from flows._etl.warehouse import Warehouse
from horae.errors import InvalidSettings, UnknownName
from horae.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A repository, or an entry of `[jobs.etl.sources]`."""

    name: str
    work: Path
    """Its folder of this run, for what is extracted."""
    project: Path
    repository: Path | None = None
    given: SourceSettings | None = None

    @property
    def is_repository(self) -> bool:
        return self.repository is not None


def sources(
    given: EtlSettings, project: Settings, repos: Sequence[str] | None, names: Sequence[str] | None, work: Path
) -> list[Source]:
    """All sources of the run. `repos` and `names` replace the configured ones. Raises InvalidSettings without any."""
    patterns = list(repos if repos is not None else project.repos if given.repositories else ())
    for name in names or ():
        if name not in given.sources:
            raise UnknownName("source", name, given.sources)
    chosen = list(given.sources) if names is None else list(dict.fromkeys(names))
    found = [
        Source(name=name, work=work / f"repository-{number}", project=project.project, repository=path)
        for number, (name, path) in enumerate(git.discover(project.project, patterns))
    ]
    taken = {one.name for one in found}
    found += [
        Source(name=name, work=work / f"source-{name}", project=project.project, given=given.sources[name])
        for name in chosen
    ]
    if clash := sorted(taken & set(chosen)):
        raise InvalidSettings(f"{clash[0]} is a repository and a source. Rename [jobs.etl.sources.{clash[0]}]")
    if not found:
        raise InvalidSettings(
            'there is nothing to load; name repositories in horae.toml, such as repos = ["."], or in HORAE_REPOS, or '
            "add a [jobs.etl.sources.NAME]"
        )
    return found


def extract(source: Source, warehouse: Warehouse, settings: EtlSettings, now: datetime, known: bool) -> Extracted:
    """Read one source into its folder: what is new since the last load (`known`), or everything.

    Raises UnreadableSource.
    """
    source.work.mkdir(parents=True, exist_ok=True)
    if source.repository is not None:
        had = knowledge.of_repository(source.name, warehouse) if known else Known()
        return git.extract(source.name, source.repository, source.work, had, settings.timeout_seconds)
    assert source.given is not None
    had = knowledge.of_source(source.name, source.given, warehouse, now) if known else Known()
    if source.given.files:
        return files.extract(source.name, source.given, source.project, had)
    return databases.extract(source.name, source.given, settings, source.project, source.work, had)


def transform(source: Source, found: Extracted, warehouse: Warehouse, settings: EtlSettings) -> list[Transformed]:
    """Transform each table of one source. Raises UnreadableSource."""
    done = []
    for staged in found.tables:
        keys, rejected = knowledge.keys(source.name, staged, warehouse, source.work)
        done.append(transforming.transform(source.name, staged, keys, rejected, source.work, settings.memory_mb))
    return done
