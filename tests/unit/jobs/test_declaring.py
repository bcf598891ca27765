"""What can be declared as a job, and what is refused with what advice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from horae.errors import InvalidJob, InvalidSchedule
from horae.jobs.declaring import DECLARATION, Declaration, job
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Isolation, Overlap, Retry, Scope, Tier, Trait
from horae.schedules.making import every

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def declared(function: Any) -> Job:
    declaration = getattr(function, DECLARATION)
    assert isinstance(declaration, Declaration)
    return declaration.job(Tier.APSCHEDULER, "internal/x.py")


def test_a_plain_function_becomes_a_job_and_stays_callable() -> None:
    @job(schedule=every("30s"), traits=["infrastructure"], scope="each", overlap="queue", catch_up="all")
    def check_disk(path: str = "/") -> str:
        """Looks at the disk.

        At length.
        """
        return path

    assert check_disk("/tmp") == "/tmp"
    made = declared(check_disk)
    assert made.name == "check-disk"
    assert made.description == "Looks at the disk."
    assert made.traits == {Trait.INFRASTRUCTURE}
    assert (made.scope, made.overlap, made.catch_up) == (Scope.EACH, Overlap.QUEUE, CatchUp.ALL)
    assert made.isolation is Isolation.CHILD
    assert not made.is_async
    assert made.source is not None
    assert made.source.file == "internal/x.py"


def test_an_async_function_is_told_apart() -> None:
    @job()
    async def beat() -> None: ...

    assert declared(beat).is_async


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Database_Backup", "'database-backup' would do"), ("9lives", "kebab-case"), ("a" * 101, "100 characters")],
)
def test_a_malformed_name_is_refused_with_one_that_would_do(name: str, hint: str) -> None:
    with pytest.raises(InvalidJob, match=hint):
        Job(name=name, tier=Tier.ONEIRIC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiemout": 1}, "unknown job setting 'tiemout'"),
        ({"schedul": None}, "did you mean 'schedule'"),
        ({"traits": ["dashbord"]}, "did you mean 'dashboard'"),
        ({"overlap": "skipp"}, "did you mean 'skip'"),
        ({"time_limit": timedelta(0)}, "time_limit must be longer than zero"),
        ({"catch_up_window": timedelta(0)}, "catch_up_window must be longer"),
        ({"jitter": timedelta(seconds=-1)}, "jitter must not be negative"),
    ],
)
def test_what_a_job_cannot_have_is_refused_where_it_is_declared(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        job("x", **options)(lambda: None)


def test_a_schedule_given_as_text_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match=r"give cron\(...\), every\(...\) or at\(...\)"):
        job("x", schedule="0 2 * * *")(lambda: None)  # type: ignore[arg-type]


def test_jitter_moves_each_fire_by_the_same_known_amount() -> None:
    still = Job(name="a", tier=Tier.ONEIRIC, schedule=every("1h"))
    moved = Job(name="a", tier=Tier.ONEIRIC, schedule=every("1h"), jitter=timedelta(minutes=10))
    assert timedelta(0) < moved.offset < timedelta(minutes=10)
    assert still.next_fire(NOON) == NOON + timedelta(hours=1)
    first = moved.next_fire(NOON)
    assert first == NOON + moved.offset
    assert moved.next_fire(first) == first + timedelta(hours=1)
    assert moved.fingerprint != still.fingerprint
    assert Job(name="b", tier=Tier.ONEIRIC, jitter=timedelta(minutes=10)).offset != moved.offset


def test_context_is_held_against_the_function() -> None:
    def backup(databases: list[str], *, keep: int = 7) -> None: ...

    made = Job(name="backup", tier=Tier.ONEIRIC, function=backup)
    made.accepts({"databases": [], "keep": 1})
    with pytest.raises(InvalidJob, match="did you mean 'keep'"):
        made.accepts({"databases": [], "keeep": 1})
    with pytest.raises(InvalidJob, match="needs context databases"):
        made.accepts({})


def test_retries_wait_longer_each_time_up_to_the_limit() -> None:
    retry = Retry(retries=9, base_delay=timedelta(seconds=1), max_delay=timedelta(seconds=10))
    assert [retry.ceiling(n).total_seconds() for n in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 10, 10]
    with pytest.raises(InvalidJob, match="give 0 or more"):
        Retry(retries=-1)
    with pytest.raises(InvalidJob, match="base_delay <= max_delay"):
        Retry(base_delay=timedelta(hours=1), max_delay=timedelta(seconds=1))
