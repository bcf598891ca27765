"""The cache cleanup: what goes and what stays, on real files."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from horae import RunContext, Settings
from horae.clock import monotonic
from horae.jobs.context import running
from internal._cleanup.cleaning import Cleaned, clean
from internal._cleanup.files import doomed, is_expired
from internal._cleanup.refusing import folder_of, refusal
from internal._cleanup.settings import DEFAULT_PLACES, CleanupSettings, Place
from internal.cache_cleanup import cache_cleanup

NOW = 1_764_000_000.0
DAY = 86_400.0
HOUR = 3600.0
RESULT = (
    '{{"metadata":{{"storage_key":"k","expiration":{expiration},"serializer":{{"type":"json"}},'
    '"prefect_version":"3.9.1","storage_block_id":null}},"result":"{{}}"}}'
)


def put(path: Path, *, days: float = 0, kib: int = 4, text: str = "") -> Path:
    """A file that was last changed so long before NOW."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or "x" * kib * 1024)
    os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return path


@pytest.fixture
def cache(project: Path) -> Path:
    return project / "cache"


def cleaned(project: Path, *, dry_run: bool = False, seconds: float = 60, path: str = "cache", **place: Any) -> Cleaned:
    where = Place(path=path, **({"older_than_days": 30} | place))
    return clean(where, Settings(project=project), NOW, monotonic() + seconds, HOUR, dry_run=dry_run)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_file_goes_when_it_is_older_than_allowed(project: Path, cache: Path) -> None:
    put(cache / "old", days=30.001)
    put(cache / "young", days=29.999)
    done = cleaned(project)
    assert (done.files, done.deleted, done.failed, done.unseen) == (2, 1, [], "")
    assert done.freed_bytes == 4096
    assert names(cache) == {"young"}


def test_run_again_it_has_nothing_to_do(project: Path, cache: Path) -> None:
    put(cache / "a" / "b" / "old", days=31)
    assert cleaned(project).deleted == 1
    assert names(cache) == set(), "folders that it emptied go too, the place itself stays"
    again = cleaned(project)
    assert (again.there, again.files, again.deleted) == (True, 0, 0)


def test_the_oldest_go_until_the_rest_fits(project: Path, cache: Path) -> None:
    for number in range(4):
        put(cache / f"f{number}", days=10 - number, kib=512)
    done = cleaned(project, older_than_days=None, most_mib=1)
    assert (done.deleted, names(cache)) == (2, {"f2", "f3"})


def test_the_newest_stay_in_any_case(project: Path, cache: Path) -> None:
    for number in range(4):
        put(cache / f"f{number}", days=100 - number)
    assert cleaned(project, keep=3).deleted == 1
    assert names(cache) == {"f1", "f2", "f3"}


def test_what_somebody_may_be_writing_stays(project: Path, cache: Path) -> None:
    put(cache / "fresh", days=0.99 * HOUR / DAY, kib=2048)
    put(cache / "rested", days=1.01 * HOUR / DAY, kib=2048)
    assert cleaned(project, older_than_days=None, most_mib=0).deleted == 1
    assert names(cache) == {"fresh"}


def test_only_files_of_that_name_go(project: Path, cache: Path) -> None:
    put(cache / "worker.log.1", days=31)
    put(cache / "worker.log", days=31)
    assert cleaned(project, names="*.log.1").deleted == 1
    assert names(cache) == {"worker.log"}


def test_a_dry_run_says_the_same_and_deletes_nothing(project: Path, cache: Path) -> None:
    put(cache / "a" / "old", days=31)
    dry = cleaned(project, dry_run=True)
    assert names(cache) == {"a", "a/old"}
    real = cleaned(project)
    assert dry.as_dict() == real.as_dict()


class TestLinks:
    """The trap: a link in a cache leads to what is no cache."""

    def test_a_link_is_neither_followed_nor_deleted(self, project: Path, cache: Path) -> None:
        precious = put(project / "precious" / "book", days=99)
        cache.mkdir()
        (cache / "folder").symlink_to(precious.parent)
        (cache / "file").symlink_to(precious)
        os.utime(cache / "file", (NOW - 99 * DAY, NOW - 99 * DAY), follow_symlinks=False)
        done = cleaned(project)
        assert (done.files, done.deleted) == (0, 0)
        assert precious.exists()
        assert names(cache) == {"folder", "file"}

    def test_a_place_that_is_a_link_to_something_protected_is_refused(self, project: Path, cache: Path) -> None:
        book = put(project / "infra" / "book.py", days=99)
        cache.symlink_to(project / "infra")
        done = cleaned(project)
        assert "which is not a cache" in done.unseen
        assert (done.files, book.exists()) == (0, True)

    def test_a_file_with_another_hard_link_frees_nothing(self, project: Path, cache: Path) -> None:
        book = put(project / "book", days=99)
        cache.mkdir()
        (cache / "same").hardlink_to(book)
        done = cleaned(project)
        assert (done.deleted, done.freed_bytes) == (1, 0)
        assert book.exists()


@pytest.mark.parametrize(
    "path",
    [
        ".",
        "..",
        "/",
        "~",
        "{state}",
        "{state}/valkey",
        "{state}/valkey/appendonlydir",
        "{state}/backups",
        "{state}/prefect",
        "infra",
        "internal/_cleanup",
        ".git/objects",
        ".venv",
    ],
)
def test_what_is_no_cache_is_refused(project: Path, path: str) -> None:
    settings = Settings(project=project)
    assert "which is not a cache" in refusal(folder_of(Place(path=path, most_mib=0), settings), settings)


def test_a_git_repository_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "clone" / ".git").mkdir(parents=True)
    settings = Settings(project=project)
    assert "is a git repository" in refusal(tmp_path / "clone", settings)


def test_the_default_places_are_no_refused_ones(project: Path) -> None:
    settings = Settings(project=project)
    assert [refusal(folder_of(place, settings), settings) for place in DEFAULT_PLACES] == [""] * len(DEFAULT_PLACES)


class TestResults:
    def test_a_result_goes_when_it_expired_whatever_its_age(self, project: Path, cache: Path) -> None:
        passed, to_come = '"2025-11-24T16:00:00Z"', '"2025-11-24T16:00:01.5Z"'
        assert time.gmtime(NOW)[:6] == (2025, 11, 24, 16, 0, 0)
        put(cache / "expired", days=0.1, text=RESULT.format(expiration=passed))
        put(cache / "valid", days=0.1, text=RESULT.format(expiration=to_come))
        put(cache / "for-ever", days=31, text=RESULT.format(expiration="null"))
        put(cache / "young", days=0.1, text=RESULT.format(expiration="null"))
        put(cache / "something-else", days=400, text="not a result")
        done = cleaned(project, kind="results")
        assert (done.files, done.deleted) == (4, 2)
        assert names(cache) == {"valid", "young", "something-else"}

    @pytest.mark.parametrize("text", ["", "{", '{"metadata":{"expiration":"soon"', '{"metadata":{"stor'])
    def test_a_half_written_result_is_left_alone(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "half").write_text(text)
        assert is_expired(tmp_path / "half", NOW) is None


class TestTroubles:
    def test_what_there_was_no_time_for_is_named_and_nothing_is_judged_by_a_part(
        self, project: Path, cache: Path
    ) -> None:
        put(cache / "old", days=99)
        done = cleaned(project, seconds=-1)
        assert done.unseen == "checked only 0 files of cache, because the time was over"
        assert (cache / "old").exists()

    def test_a_place_that_is_not_there_is_not_clean(self, project: Path) -> None:
        done = cleaned(project)
        assert (done.there, done.files) == (False, 0)

    def test_a_file_that_was_written_since_it_was_looked_at_stays(
        self, project: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = put(cache / "old", days=99)
        looked = doomed

        def written_meanwhile(*arguments: Any) -> Any:
            chosen = looked(*arguments)
            old.write_text("new")
            return chosen

        monkeypatch.setitem(clean.__globals__, "doomed", written_meanwhile)
        assert cleaned(project).deleted == 0
        assert old.read_text() == "new"

    def test_a_file_that_somebody_else_deletes_meanwhile_is_no_trouble(
        self, project: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = put(cache / "old", days=99)
        looked = doomed

        def deleted_meanwhile(*arguments: Any) -> Any:
            chosen = looked(*arguments)
            old.unlink()
            return chosen

        monkeypatch.setitem(clean.__globals__, "doomed", deleted_meanwhile)
        done = cleaned(project)
        assert (done.deleted, done.failed) == (0, [])


def run_job(project: Path, **fields: Any) -> tuple[dict[str, Any], str]:
    told: list[str] = []
    own = CleanupSettings(**fields) if fields else None
    with running(RunContext(job="cache-cleanup", run_id="r", project=project, settings=own, report=told.append)):
        return cache_cleanup(), told[-1]


def test_where_no_place_is_there_it_looked_at_nothing(project: Path) -> None:
    result, told = run_job(project)
    assert told == f"nothing was checked: none of {len(DEFAULT_PLACES)} places exists"
    assert result["deleted"] == 0


def test_what_could_not_be_looked_at_comes_first(project: Path) -> None:
    put(project / "cache" / "old", days=99)
    places = (Place(path="infra", older_than_days=1), Place(path="cache", older_than_days=1))
    result, told = run_job(project, places=places)
    assert told.startswith(f"{project / 'infra'} is, contains or is inside")
    assert told.endswith("; deleted 1 of 1 files in 1 places, 0.0 MiB")
    assert len(result["unseen"]) == 1


def test_settings_refuse_a_place_where_nothing_would_ever_go() -> None:
    with pytest.raises(ValidationError, match="set older_than_days, most_mib or both"):
        Place(path="cache")
