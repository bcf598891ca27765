"""`horae next`: the coming fires of a job or of any schedule."""

from datetime import datetime
from typing import Annotated

import typer

from horae import clock
from horae.cli.completing import job_names
from horae.cli.options import At, Cron, Every, Json, Zone, instant_of, schedule_of
from horae.errors import UsageError
from horae.jobs.job import Job
from horae.schedules.kinds import Schedule, wall_zone
from horae.schedules.zones import zone

Optional = Annotated[
    str | None,
    typer.Argument(metavar="[JOB]", help="The name of a job, to use its schedule.", autocompletion=job_names),
]
After = Annotated[
    str | None, typer.Option("--after", metavar="INSTANT", help="Show fires after this instant. Default: now.")
]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="The number of fires.")]


def command(
    context: typer.Context,
    job: Optional = None,
    cron: Cron = None,
    tz: Zone = None,
    every: Every = None,
    at: At = None,
    after: After = None,
    count: Count = 5,
    json: Json = False,
) -> int:
    """The coming fires of a job, or of any schedule.

    \b
    horae next database-backup
    horae next --cron "30 2 * * *" --tz Europe/Berlin --after 2027-03-27T00:00:00Z --count 3
    """
    source = _source(context, job, schedule_of(cron, tz, every, at))
    found = coming(source, _after(after), count)
    if json:
        from horae.cli.output import print_json

        print_json([clock.isoformat(fire) for fire in found])
    else:
        _draw(found, wall_zone(source.schedule if isinstance(source, Job) else source))
    return 0


def coming(source: Job | Schedule, after: datetime, count: int) -> list[datetime]:
    """The first `count` fires after an instant, fewer where there are no more."""
    following = source.next_fire if isinstance(source, Job) else source.next_after
    found: list[datetime] = []
    while len(found) < count and (fire := following(found[-1] if found else after)):
        found.append(fire)
    return found


def fire_lines(fires: list[datetime], tz: str | None) -> list[str]:
    """Of each fire the instant in UTC, the wall clock of its schedule's zone, and how long from now it is."""
    from horae.words import relative

    now, width = clock.now(), max((len(clock.isoformat(fire)) for fire in fires), default=0)
    walls = [f"{fire.astimezone(zone(tz)):%a %d %b %H:%M:%S %Z}" if tz else f"{fire:%a}" for fire in fires]
    return [
        f"{clock.isoformat(fire):<{width}}  {wall}  {relative(fire, now)}"
        for fire, wall in zip(fires, walls, strict=True)
    ]


def _source(context: typer.Context, job: str | None, schedule: Schedule | None) -> Job | Schedule:
    if job is not None and schedule is not None:
        raise UsageError("give either a job or a schedule, not both")
    if schedule is not None:
        return schedule
    if job is None:
        raise UsageError(
            'give a job, or a schedule such as --cron "0 2 * * *", --every 30s or --at 2026-12-01T02:00:00Z'
        )
    from horae.cli.project import configured, jobs_of

    found = jobs_of(configured(context)).get(job)
    if found.schedule is None:
        raise UsageError(f"job {job!r} has no schedule, so it has no fires; `horae run {job}` runs it now")
    return found


def _after(text: str | None) -> datetime:
    return clock.now() if text is None else instant_of("--after", text)


def _draw(fires: list[datetime], tz: str | None) -> None:
    for line in fire_lines(fires, tz):
        print(line)
    if not fires:
        print("no fires: the schedule has ended")
