"""The work of the code sweep, on real git repositories and with the real ruff."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows._sweep import git, rendering, report
from flows._sweep.lint import RuffFailed, complexity, lint
from flows._sweep.repositories import Repository, discover
from flows._sweep.sweep import Sweep, sweep

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
COMMITTED = NOW - timedelta(days=3, hours=1)
LADDER = (
    "def ladder(x):\n" + "".join(f"    if x == {n}:\n        return {n}\n" for n in range(11)) + "    return None\n"
)


class Clone:
    """A real repository in a folder."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        subprocess.run(["git", "init", "-q", "-b", "trunk", *options, str(path)], check=True)

    def git(self, *arguments: str) -> None:
        identity = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b.c"}
        identity |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b.c"}
        dates = {"GIT_AUTHOR_DATE": COMMITTED.isoformat(), "GIT_COMMITTER_DATE": COMMITTED.isoformat()}
        command = ["git", "-c", "protocol.file.allow=always", "-C", str(self.path), *arguments]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | identity | dates)

    def write(self, name: str, content: str | bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, **files: str | bytes) -> None:
        for name, content in files.items():
            self.write(name.replace("__", "/").replace("_py", ".py"), content)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "work")

    def sweep(self) -> Sweep:
        return sweep(Repository(name=self.path.name, path=self.path), NOW)

    def state(self) -> dict[str, tuple[int, bytes]]:
        """Every file in the folder, git's own included: when it was changed, and what it holds."""
        files = [path for path in self.path.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_counts_what_git_tracks(clone: Clone) -> None:
    clone.commit(
        app_py="import os\n\n\ndef run():\n    # TODO: speak\n    return 1  # FIXME later\n",
        tests__test_app_py="def test_run():\n    assert True\n",
        Makefile="all:\n\ttrue",
        logo=b"\0\1\2\n\n",
    )
    clone.write("untracked.py", "import sys\n# TODO never counted\n")
    content = clone.sweep().content
    assert (content.files, content.lines) == (4, 10)
    assert {name: (about.files, about.lines) for name, about in content.languages.items()} == {
        "Python": (2, 8),
        "Make": (1, 2),
        "other": (1, 0),
    }
    assert content.todos_by_marker == {"TODO": 1, "FIXME": 1}
    assert [(todo.file, todo.line) for todo in content.first_todos] == [("app.py", 5), ("app.py", 6)]
    assert content.test_files == 1


def test_a_marker_outside_of_a_comment_is_no_todo(clone: Clone) -> None:
    clone.commit(app_py="path = 'tmp.XXX'\nTODO = 1\n# a HACK\n")
    assert clone.sweep().content.todos_by_marker == {"HACK": 1}


def test_lint_findings_by_rule_and_complexity(clone: Clone) -> None:
    clone.commit(app_py="import os\nimport sys\n\n\n" + LADDER + "\n\ndef plain():\n    return l1\n")
    swept = clone.sweep()
    assert swept.lint is not None
    assert swept.lint.by_rule == {"F401": 2, "F821": 1}
    assert (swept.lint.findings, swept.lint.configuration) == (3, "default")
    assert swept.complexity is not None
    assert (swept.complexity.functions, swept.complexity.highest, swept.complexity.over_limit) == (2, 12, 1)
    assert (swept.complexity.mean, swept.complexity.worst[0].name) == (6.5, "ladder")
    assert (swept.complexity.worst[0].file, swept.complexity.worst[0].line) == ("app.py", 5)


def test_complexity_of_exactly_the_limit_is_not_over_it(clone: Clone) -> None:
    clone.commit(app_py="def ten(x):\n" + "".join(f"    if x == {n}:\n        x += 1\n" for n in range(9)))
    found = complexity(clone.path, ("app.py",))
    assert (found.highest, found.over_limit) == (10, 0)


def test_the_repository_chooses_the_rules_but_can_not_have_itself_changed(clone: Clone) -> None:
    clone.commit(app_py="import os\nprint('x')  \n")
    clone.write("ruff.toml", 'fix = true\nunsafe-fixes = true\noutput-format = "github"\n[lint]\nselect = ["T20"]\n')
    before = clone.state()
    swept = clone.sweep()
    assert swept.lint is not None
    assert (swept.lint.by_rule, swept.lint.configuration) == ({"T201": 1}, "own")
    assert clone.state() == before


def test_a_sweep_changes_nothing_and_starts_nothing(clone: Clone, tmp_path: Path) -> None:
    clone.commit(app_py="x = 1\n")
    os.utime(clone.path / "app.py", (1, 1))  # `git status` would like to refresh its index now
    clone.git("config", "core.fsmonitor", f"touch {tmp_path / 'started'}; false")
    before = clone.state()
    clone.sweep()
    assert clone.state() == before
    assert not (tmp_path / "started").exists()


def test_a_syntax_error_is_a_finding(clone: Clone) -> None:
    clone.commit(app_py="def broken(:\n")
    swept = clone.sweep()
    assert not swept.problems
    assert swept.lint is not None
    assert swept.lint.findings > 0


def test_without_python_there_is_nothing_to_lint(clone: Clone) -> None:
    clone.commit(notes="words\n")
    assert lint(clone.path, ()).findings == 0
    swept = clone.sweep()
    assert swept.complexity is not None
    assert (swept.complexity.functions, swept.complexity.highest, swept.complexity.mean) == (0, 0, 0.0)


def test_when_ruff_fails_the_rest_is_still_measured_and_the_reason_named(clone: Clone) -> None:
    clone.commit(app_py="x = 1\n")
    clone.write("ruff.toml", 'select = "not a list"\n')
    swept = clone.sweep()
    assert swept.lint is None
    assert swept.content.lines == 1
    assert swept.problems[0].startswith("ruff failed: ")
    assert "ruff.toml" in swept.problems[0]
    with pytest.raises(RuffFailed):
        lint(clone.path, ("app.py",))


def test_uncommitted_work_and_days_since_the_last_commit(clone: Clone) -> None:
    clone.commit(one="1\n", two="2\n", three="3\n")
    clone.write("one", "changed\n")
    clone.git("mv", "two", "renamed file")
    clone.write("new", "untracked\n")
    swept = clone.sweep()
    tree = swept.work_tree
    assert (tree.staged, tree.changed, tree.untracked, tree.conflicted) == (1, 1, 1, 0)
    assert (tree.branch, tree.unpushed) == ("trunk", None)
    assert (swept.days_since_commit, swept.last_commit_at) == (3, COMMITTED)


def test_a_file_in_conflict_counts_once(clone: Clone) -> None:
    clone.commit(one="base\n")
    clone.git("checkout", "-q", "-b", "other")
    clone.commit(one="theirs\n")
    clone.git("checkout", "-q", "trunk")
    clone.commit(one="ours\n")
    with pytest.raises(subprocess.CalledProcessError):
        clone.git("merge", "-q", "other")
    swept = clone.sweep()
    assert (swept.content.files, swept.work_tree.conflicted) == (1, 1)


def test_commits_that_upstream_lacks_are_unpushed(clone: Clone, tmp_path: Path) -> None:
    clone.commit(one="1\n")
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "-q", clone.path, copy], check=True)
    ahead = Clone(copy)
    ahead.commit(two="2\n")
    assert ahead.sweep().work_tree.unpushed == 1


def test_detached_and_without_a_commit_are_notes(clone: Clone, tmp_path: Path) -> None:
    clone.commit(one="1\n")
    clone.git("checkout", "-q", "--detach")
    detached = clone.sweep()
    assert detached.work_tree.commit is not None
    assert detached.notes == (f"detached at {detached.work_tree.commit[:12]}",)
    empty = Clone(tmp_path / "empty").sweep()
    assert (empty.notes, empty.days_since_commit, empty.content.files) == (("no commits yet",), None, 0)


def test_submodules_and_links_are_not_entered(clone: Clone, tmp_path: Path) -> None:
    inner = Clone(tmp_path / "inner")
    inner.commit(deep_py="import os\n")
    clone.commit(one="1\n")
    clone.git("submodule", "add", "-q", str(inner.path), "vendor")
    (clone.path / "link.py").symlink_to(tmp_path / "inner" / "deep.py")
    clone.git("add", "--all")
    clone.git("commit", "-q", "-m", "more")
    swept = clone.sweep()
    assert "submodules not entered: vendor" in swept.notes
    assert (swept.content.files, swept.lint and swept.lint.findings) == (2, 0)  # `one` and `.gitmodules`


def test_tracked_files_that_are_gone_are_named(clone: Clone) -> None:
    clone.commit(here_py="x = 1\n", gone_py="import os\n")
    (clone.path / "gone.py").unlink()
    swept = clone.sweep()
    assert not swept.problems
    assert swept.content.unread == ("gone.py",)
    assert any("gone.py" in note for note in swept.notes)


def test_odd_names_and_odd_bytes_reach_json_and_markdown(clone: Clone) -> None:
    name = os.fsdecode(b"a\xff|\n<b>.py")
    clone.commit(**{name: "import os  # TODO x\n"})
    found = report.Report(at=NOW, sweeps=(clone.sweep(),), broken=())
    assert found.sweeps[0].content.todos == 1
    json.dumps(found.as_dict()).encode()
    text = rendering.markdown(found)
    assert text.encode()
    assert "<b>" not in text


def test_a_hook_of_another_repository_does_not_redirect_the_sweep(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.commit(one="1\n")
    other = Clone(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    assert clone.sweep().content.files == 1


def no_repository(path: Path) -> None:
    path.mkdir()


def bare(path: Path) -> None:
    Clone(path, "--bare")


def a_file(path: Path) -> None:
    path.write_text("x")


def corrupt(path: Path) -> None:
    Clone(path).commit(a="1")
    (path / ".git" / "index").write_bytes(b"no index")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "the folder does not exist"),
        (a_file, "it is not a folder"),
        (no_repository, "not a git repository"),
        (bare, "bare repository"),
        (corrupt, "git says: "),
    ],
)
def test_a_broken_repository_says_why(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path / "it")
    with pytest.raises(git.BrokenRepository, match=reason):
        sweep(Repository(name="it", path=tmp_path / "it"), NOW)


def test_a_folder_inside_a_repository_is_not_taken_for_it(clone: Clone) -> None:
    clone.commit(sub__one="1\n")
    with pytest.raises(git.BrokenRepository, match=f"inside the repository {clone.path}"):
        sweep(Repository(name="sub", path=clone.path / "sub"), NOW)


def test_a_repository_of_another_user_is_refused_with_the_way_out(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.commit(one="1\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to test this without a second user
    with pytest.raises(git.BrokenRepository, match=f"safe.directory {clone.path}"):
        clone.sweep()


def test_git_that_does_not_answer_is_cut_off(clone: Clone) -> None:
    with pytest.raises(git.GitTimedOut, match="git hash-object took longer than"):
        git.git(clone.path, "hash-object", "--stdin-paths", timeout_seconds=0.0)


def test_paths_and_globs_give_each_repository_once(tmp_path: Path) -> None:
    project = Clone(tmp_path / "project").path
    one, two = Clone(tmp_path / "all" / "one").path, Clone(tmp_path / "all" / "two").path
    (tmp_path / "all" / "plain").mkdir()
    found = discover(project, [".", "../all/*", "../all/one", str(project)])
    assert [(repository.name, repository.path) for repository in found] == [
        ("project", project),
        ("one", one),
        ("two", two),
    ]


def test_what_is_not_there_is_still_named(tmp_path: Path) -> None:
    found = discover(tmp_path, ["gone", "none/*"])
    assert [repository.name for repository in found] == ["gone", "none/*"]


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for place in ("a", "b"):
        Clone(tmp_path / place / "app")
    names = [repository.name for repository in discover(project, ["../a/app", "../b/app"])]
    assert names == [str(tmp_path / "a" / "app"), str(tmp_path / "b" / "app")]


def made(clone: Clone, at: datetime, *broken: str) -> report.Report:
    gone = tuple(
        report.Broken(repository=Repository(name=name, path=Path("/", name)), reason="not a git repository")
        for name in broken
    )
    return report.Report(at=at, sweeps=(clone.sweep(),), broken=gone)


def test_the_report_says_what_changed(clone: Clone, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    clone.commit(app_py="x = 1\n")
    assert report.previous(folder) is None
    report.write(made(clone, NOW, "mended", "gone"), folder)
    clone.write("app.py", "x = 1\nprint(nowhere)\n# TODO\n")
    later = report.compared(made(clone, NOW + timedelta(days=1), "new"), report.previous(folder))
    assert later.previous_at == "2026-11-24T02:00:00Z"
    assert {(change.figure, change.before, change.after) for change in later.changes} == {
        ("lines", 1, 3),
        ("lint_findings", 0, 1),
        ("todos", 0, 1),
        ("uncommitted", 0, 1),
    }
    assert set(later.news) == {"new is new", "mended is no longer swept", "gone is no longer swept"}
    text = rendering.markdown(later)
    assert "- clone: lines 1 → 3 (+2)" in text
    assert "- **new**: not a git repository" in text


def test_a_repository_that_broke_or_was_mended_is_news(clone: Clone, tmp_path: Path) -> None:
    clone.commit(one="1\n")
    whole = made(clone, NOW)
    path = str(whole.sweeps[0].repository.path)
    gone = report.Report(
        at=NOW, sweeps=(), broken=(report.Broken(repository=whole.sweeps[0].repository, reason="it is gone"),)
    )
    assert report.compared(gone, whole.as_dict()).news == ("clone broke: it is gone",)
    assert report.compared(whole, gone.as_dict()).news == ("clone can be swept again",)
    assert gone.as_dict()["repositories"] == [
        {"name": "clone", "path": path, "status": "broken", "reason": "it is gone"}
    ]


def test_nothing_changed_is_said(clone: Clone) -> None:
    clone.commit(one="1\n")
    first = made(clone, NOW)
    again = report.compared(replace(first, at=NOW + timedelta(days=1)), first.as_dict())
    assert not again.changes
    assert not again.news
    assert "Nothing changed since 2026-11-24T02:00:00Z." in rendering.markdown(again)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": "x"}', '{"at": "x", "repositories": [1]}'])
def test_a_previous_report_that_can_not_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "latest.json").write_text(text)
    assert report.previous(tmp_path) is None


def test_reports_are_written_whole_and_the_oldest_go(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "KEPT", 2)
    clone.commit(one="1\n")
    found = made(clone, NOW)
    paths = [report.write(replace(found, at=NOW + timedelta(days=day)), tmp_path / "reports") for day in range(3)]
    names = sorted(file.name for file in (tmp_path / "reports").iterdir())
    assert names == ["20261125T020000.000000Z.json", "20261126T020000.000000Z.json", "latest.json"]
    latest: dict[str, Any] = json.loads((tmp_path / "reports" / "latest.json").read_text())
    assert latest == json.loads(paths[-1].read_text())
    assert latest["repositories"][0]["figures"]["lines"] == 1


def test_the_table_has_a_row_for_each_repository(clone: Clone) -> None:
    clone.commit(one="1\n")
    swept, broken = rendering.rows(made(clone, NOW, "gone"))
    assert (swept["repository"], swept["lines"], swept["status"]) == ("clone", 1, "swept")
    assert (broken["repository"], broken["lines"], broken["status"]) == ("gone", "-", "broken: not a git repository")
    assert list(swept) == list(broken)
