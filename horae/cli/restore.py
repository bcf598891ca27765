"""`horae restore`: the backups, a restore of one, and a drill of restores."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from horae import clock
from horae.cli.completing import job_names
from horae.cli.options import Json, when_of
from horae.cli.project import jobs_of, settings_of
from horae.errors import HoraeError, UnknownName, UsageError
from horae.jobs.restoring import Restored, RestoreOptions, Restorer, Stored, restorer_of
from horae.project.registry import Registry
from horae.settings import Settings

Which = Annotated[
    str | None,
    typer.Argument(metavar="[BACKUP]", help="The name of a backup, or of a database: its newest backup."),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="DATABASE", help="A new or empty database: a path of SQLite, or a URL as in `databases`."
    ),
]
Drill = Annotated[
    bool,
    typer.Option(
        "--drill",
        help="Restore into a scratch database, compare the rows, and drop it. Without BACKUP: the newest of each "
        "database.",
    ),
]
Before = Annotated[
    str | None,
    typer.Option(
        "--before", metavar="WHEN", help="Not after an instant such as 2026-12-01T02:00:00Z, or that long ago: 24h."
    ),
]
Place = Annotated[str | None, typer.Option("--from", metavar="PLACE", help="Only backups in `folder`, or in `s3`.")]
Identity = Annotated[
    Path | None,
    typer.Option(
        "--identity", metavar="FILE", help="The private key of encrypted backups. Default: identity_file of the job."
    ),
]
Owners = Annotated[
    bool, typer.Option("--owners", help="PostgreSQL: restore owners and grants too. Their roles must exist.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check the backup and the target, restore nothing, and create no database.")
]
OfJob = Annotated[
    str | None,
    typer.Option(
        "--job", metavar="JOB", autocompletion=job_names, help="The job that made the backups, if several jobs do."
    ),
]


def command(
    context: typer.Context,
    backup: Which = None,
    to: To = None,
    drill: Drill = False,
    before: Before = None,
    place: Place = None,
    identity: Identity = None,
    owners: Owners = False,
    dry_run: DryRun = False,
    job: OfJob = None,
    json: Json = False,
) -> int:
    """List the backups of databases, restore one, or drill restores; exit 1 if one fails or a table differs.

    A restore needs a new or empty database and overwrites nothing. A drill reports the recovery point (the age of the
    backup) and the recovery time (how long the restore takes).

    \b
    horae restore
    horae restore shop --to shop-restored.db
    horae restore shop --before 24h --to 'postgresql://admin@db/shop_restored?password_file=/run/secrets/db'
    horae restore --drill --from s3
    """
    _require_sense(backup, to, drill, dry_run, owners)
    if place not in (None, "folder", "s3"):
        raise UnknownName("place", place, ("folder", "s3"))
    options = RestoreOptions(
        identity=identity, place=place, owners=owners, dry_run=dry_run, say=_quiet if json else _say
    )
    settings = settings_of(context)
    restorer = _restorer(settings, jobs_of(settings), job, options)
    stored = restorer.backups()
    if before is not None:
        latest = when_of("--before", before)
        stored = [one for one in stored if one.at <= latest]
    if not drill and to is None:
        _list(stored if backup is None else _of(stored, backup), json)
        return 0
    failures: dict[str, str] = {}
    if to is not None and backup is not None:
        results = [restorer.restore(_of(stored, backup)[0], to)]
    else:
        results, failures = _drill(restorer, _newest(stored) if backup is None else [_of(stored, backup)[0]])
    done = "drilled" if drill else "dry run: could restore" if dry_run else "restored"
    _print(results, failures, json, done)
    return 1 if failures or any(result.differences for result in results) else 0


def _require_sense(backup: str | None, to: str | None, drill: bool, dry_run: bool, owners: bool) -> None:
    """Raises UsageError for options that contradict each other."""
    if drill and (to is not None or dry_run or owners):
        raise UsageError("--drill restores into a scratch database of its own; leave out --to, --dry-run and --owners")
    if to is not None and backup is None:
        raise UsageError("--to needs the name of a backup or of a database before it; `horae restore` lists them")
    if to is None and not drill and (dry_run or owners):
        raise UsageError("--dry-run and --owners belong to a restore; say --to DATABASE too")


def _restorer(settings: Settings, registry: Registry, name: str | None, options: RestoreOptions) -> Restorer:
    from horae.project.loading import job_settings

    jobs = [registry.get(name)] if name else list(registry)
    able = {job.name: (job, factory) for job in jobs if (factory := restorer_of(job.function))}
    if not able:
        whose = f"job {name!r}" if name else "no job of this project"
        verb = "makes no" if name else "makes"
        raise UsageError(
            f"{whose} {verb} backups that can be restored; the bundled infra/database_backup.py does, and any job file "
            "that declares it with horae.jobs.restoring.restores"
        )
    if len(able) > 1:
        raise UsageError(f"several jobs make backups: {', '.join(sorted(able))}; name one with --job")
    [(job, factory)] = able.values()
    return factory(settings.project, job_settings(settings, job), options)


def _of(stored: Sequence[Stored], given: str) -> list[Stored]:
    """The backups that a name stands for, the newest first; raises UsageError."""
    exact = [one for one in stored if given in (one.name, one.database)]
    if exact:
        return exact
    databases = sorted({one.database for one in stored if one.database.rpartition("-")[0] == given})
    if len(databases) > 1:
        raise UsageError(f"several databases have the name {given!r}: {', '.join(databases)}; give the whole name")
    if not databases:
        raise UnknownName("backup or database", given, {one.database.rpartition("-")[0] for one in stored})
    return [one for one in stored if one.database == databases[0]]


def _newest(stored: Sequence[Stored]) -> list[Stored]:
    """The newest backup of each database; raises UsageError if there is none."""
    found: dict[str, Stored] = {}
    for one in stored:
        found.setdefault(one.database, one)
    if not found:
        raise UsageError("there is no backup yet, so nothing was drilled; `horae run database-backup` makes one")
    return list(found.values())


def _drill(restorer: Restorer, chosen: Sequence[Stored]) -> tuple[list[Restored], dict[str, str]]:
    """The results, and the reasons of those that failed. One bad backup does not stop the others."""
    results: list[Restored] = []
    failures: dict[str, str] = {}
    for stored in chosen:
        try:
            results.append(restorer.drill(stored))
        except HoraeError as error:
            failures[stored.name] = error.message
        except OSError as error:
            failures[stored.name] = str(error)
    return results, failures


def _list(stored: Sequence[Stored], json: bool) -> None:
    if json:
        from horae.cli.output import print_json
        from horae.shapes.restores import stored_shape

        print_json([stored_shape(one) for one in stored])
        return
    from horae.cli.columns import print_columns
    from horae.words import roughly

    if not stored:
        print("no backup yet")
        return
    print_columns(
        ("recovery point", "age", "database", "size", "encrypted", "kept in", "backup"),
        [
            (
                clock.isoformat(one.at.replace(microsecond=0)),
                roughly(clock.now() - one.at),
                one.database,
                _size(one.bytes),
                "yes" if one.encrypted else "no",
                ", ".join(one.places),
                one.name,
            )
            for one in stored
        ],
        below=("backup", "kept in", "encrypted"),
    )


def _print(results: Sequence[Restored], failures: dict[str, str], json: bool, done: str) -> None:
    if json:
        from horae.cli.output import print_json
        from horae.shapes.restores import failure_shape, restored_shape

        print_json([failure_shape(name, why) for name, why in failures.items()] + [*map(restored_shape, results)])
        return
    from horae.cli.output import paint

    for name, why in failures.items():
        print(paint(f"failed: {name}: {why}", "red"))
    for result in sorted(results, key=lambda result: not result.differences):
        for sentence in result.differences:
            print(paint(f"failed: {result.backup}: {sentence}", "red"))
        print("\n".join(_told(result, done)))


def _told(result: Restored, done: str) -> list[str]:
    from horae.words import took

    age = f"{clock.isoformat(result.recovery_point.replace(microsecond=0))}, {_age(result.recovery_point)} ago"
    head = f"{done} {result.backup}" + ("" if done == "drilled" else f" into {result.target}")
    if "restore" not in result.steps:  # a dry run
        return [head, f"  recovery point  {age}"]
    compared = (
        f"{_count(result.compared, 'table')} compared with the manifest, {len(result.differences)} differ"
        if result.compared is not None
        else "not compared: this backup has no manifest"
    )
    steps = ", ".join(f"{name} {took(seconds)}" for name, seconds in result.steps.items())
    return [
        head,
        f"  recovery point  {age}",
        f"  recovery time   {took(result.recovery_seconds)} ({steps})",
        f"  content         {_count(result.tables, 'table')}, {_count(result.rows, 'row')}; {compared}",
    ]


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _age(at: datetime) -> str:
    from horae.words import roughly

    return roughly(clock.now() - at)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _quiet(text: str) -> None:
    pass
