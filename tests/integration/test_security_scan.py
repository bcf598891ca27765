"""The security scan on real repositories with planted faults: what it finds, what is new, what it could not see."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from horae import RunContext
from horae.jobs.context import running
from infra._scan import container_files, history
from infra._scan.finding import NewFindings, ScanFailed
from infra._scan.settings import ScanSettings
from infra.security_scan import security_scan

ROOT = Path(__file__).parents[2]
TOKEN = "gh" + "p_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fLaB3d"
OTHER = "gl" + "pat-" + "aB3dE6gH9jK2mN5pQ8sT"
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")


@pytest.fixture
def repo(project: Path) -> Path:
    folder = project / "shop"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, {"app.py": "x = 1\n", "README.md": "# Shop\n"})
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*GIT, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "more")
    return git(folder, "rev-parse", "HEAD")


def run(
    project: Path,
    *,
    repos: Sequence[str] = ("shop",),
    reported: list[str] | None = None,
    run_id: str = "",
    accept: Sequence[str] = (),
    dry_run: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    told = [] if reported is None else reported
    chosen = ScanSettings(**{"fail_at": "never"} | settings)
    context = RunContext(
        job="security-scan",
        run_id=run_id or os.urandom(8).hex(),
        project=project,
        settings=chosen,
        report=told.append,
    )
    with running(context):
        return security_scan(repos=repos, accept=accept, dry_run=dry_run)


def report(project: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / ".horae/security/latest.sarif").read_text())
    return found


def rules(result: dict[str, Any]) -> list[str]:
    return sorted(one["rule"] for one in result["new"])


def test_what_is_there_at_the_first_scan_is_known_and_only_what_comes_is_new(project: Path, repo: Path) -> None:
    commit(repo, {"old.py": f'token = "{TOKEN}"\n'})
    told: list[str] = []
    first = run(project, reported=told, fail_at="high")
    assert first["new"] == []
    assert "first scan of shop: found 1 high, 1 low, which count as known from now on" in told
    assert any(line.startswith("known high: shop/old.py:1: github-token") for line in told)
    commit(repo, {"new.py": f'import subprocess\nsubprocess.call(input(), shell=True)\nk = "{OTHER}"\n'})
    told.clear()
    with pytest.raises(NewFindings, match=r"^2 new findings: high .*shop/new\.py"):
        run(project, reported=told, fail_at="high")
    assert [line for line in told if line.startswith("new high")]
    assert run(project, fail_at="low")["new"] == []


def test_a_second_attempt_of_a_run_calls_the_same_findings_new(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"new.py": f'k = "{OTHER}"\n'})
    for _ in range(2):
        with pytest.raises(NewFindings, match="1 new findings: high gitlab-token"):
            run(project, run_id="the same", fail_at="high")


def test_lines_that_move_are_not_new(project: Path, repo: Path) -> None:
    commit(repo, {"app.py": "import pickle\npickle.loads(x)\npickle.loads(x)\n", "a.md": f"{TOKEN}\n"})
    run(project)
    commit(repo, {"app.py": "import os\n\n\nimport pickle\npickle.loads(x)\npickle.loads(x)\n", "a.md": f"\n{TOKEN}\n"})
    assert rules(run(project)) == []
    commit(repo, {"app.py": "import pickle\npickle.loads(x)\npickle.loads(x)\npickle.loads(x)\n"})
    assert rules(run(project)) == ["B301"]


def test_no_secret_is_in_any_report_or_message(project: Path, repo: Path) -> None:
    commit(repo, {"first.md": f"{TOKEN}\n"})
    told: list[str] = []
    results = [run(project, reported=told)]
    commit(repo, {"second.py": f'password = "{OTHER}"\n', ".env": f"K={OTHER}\n"})
    results.append(run(project, reported=told))
    assert results[1]["new"]
    written = [path.read_text() for path in (project / ".horae").rglob("*") if path.is_file()]
    for text in [*told, json.dumps(results), *written]:
        assert TOKEN not in text
        assert OTHER not in text


def test_a_secret_that_was_removed_stays_in_the_history(project: Path, repo: Path) -> None:
    run(project)
    added = commit(repo, {"key.md": f"{TOKEN}\n"})
    commit(repo, {"key.md": "gone\n"})
    (one,) = run(project)["new"]
    assert (one["tool"], one["rule"], one["place"]) == (
        "history",
        "github-token",
        f"shop/key.md:1 (commit {added[:12]})",
    )
    again = run(project)
    assert (again["new"], again["by_severity"]["known"]["high"], again["looked_at"]["shop history"]) == ([], 1, 0)
    git(repo, "reset", "-q", "--hard", "HEAD~2")  # the history is written anew
    assert run(project)["by_severity"]["known"].get("high") is None


def test_a_secret_in_files_and_history_is_one_finding(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"key.md": f"{TOKEN}\n"})
    (one,) = run(project)["new"]
    assert one["tool"] == "secrets"
    commit(repo, {"key.md": "gone\n"})
    cleaned = run(project)
    assert cleaned["new"] == []
    assert cleaned["by_severity"]["known"] == {"high": 1}  # the history has it still


def test_other_branches_stashes_and_merges_are_searched(project: Path, repo: Path) -> None:
    run(project)
    git(repo, "checkout", "-q", "-b", "side")
    commit(repo, {"side.md": f"{TOKEN}\n", "app.py": "x = 2\n"})
    git(repo, "checkout", "-q", "main")
    commit(repo, {"app.py": "x = 3\n"})
    subprocess.run([*GIT, "-C", str(repo), "merge", "-q", "side"], capture_output=True, check=False)
    commit(repo, {"app.py": f"x = 4  # {OTHER}\n"})  # what only the merge added
    assert rules(run(project)) == ["github-token", "gitlab-token"]
    git(repo, "checkout", "-q", "-b", "wip")
    (repo / "app.py").write_text(f"y = '{OTHER}x7'\n")
    git(repo, "stash")
    assert rules(run(project)) == ["gitlab-token"]


def test_accepted_findings_are_quiet_and_marked(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"test.py": f'k = "{OTHER}"\n'})
    (one,) = run(project, dry_run=True)["new"]
    with pytest.raises(ScanFailed, match=r"accept 'nonsense': no finding of this scan has that fingerprint"):
        run(project, accept=["nonsense"])
    assert run(project, accept=[one["fingerprint"][:8]], baseline="accepted.json", fail_at="low")["new"] == []
    kept = json.loads((project / "accepted.json").read_text())["accepted"]
    assert kept == {
        one["fingerprint"]: "gitlab-token in shop/test.py:1: a GitLab token of 26 characters is in the file"
    }
    (result,) = [found for part in report(project)["runs"] for found in part["results"]]
    assert result["suppressions"] == [{"kind": "external", "status": "accepted"}]


def test_a_line_may_allow_its_secret(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"a.py": f'k = "{OTHER}"  # pragma: allowlist secret\n', "b.py": f'k = "{TOKEN}"  # gitleaks:allow\n'})
    assert run(project)["new"] == []


def test_a_dry_run_writes_nothing(project: Path, repo: Path) -> None:
    run(project)
    before = {path: path.read_bytes() for path in (project / ".horae").rglob("*") if path.is_file()}
    commit(repo, {"new.md": f"{TOKEN}\n"})
    assert rules(run(project, dry_run=True)) == ["github-token"]
    assert {path: path.read_bytes() for path in (project / ".horae").rglob("*") if path.is_file()} == before


@pytest.fixture
def broken_bandit(tmp_path: Path) -> dict[str, str]:
    """Variables with which bandit dies when it loads its plug-ins, as after half an upgrade."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/stevedore.py").write_text("raise ImportError('half upgraded')\n")
    return {"PYTHONPATH": str(tmp_path / "broken")}


def test_a_tool_that_fails_is_not_a_clean_scan(
    project: Path, repo: Path, broken_bandit: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repo, {"a.py": "import pickle\npickle.loads(x)\n"})
    run(project)
    told: list[str] = []
    with monkeypatch.context() as broken:
        broken.setenv("PYTHONPATH", broken_bandit["PYTHONPATH"])
        with pytest.raises(
            ScanFailed, match=r"the scan is incomplete: shop: bandit: .* Its last output: .*half upgraded"
        ):
            run(project, reported=told)
    assert next(line for line in told if "scanning" not in line).startswith("not scanned: shop: bandit: ")
    by_tool = {part["tool"]["driver"]["name"]: part["invocations"][0] for part in report(project)["runs"]}
    assert by_tool["horae bandit"]["executionSuccessful"] is False
    assert by_tool["horae secrets"]["executionSuccessful"] is True
    after = run(project)
    assert (after["new"], after["fixed"]) == ([], 0)  # what the tool knew before was not taken for repaired


def test_a_tool_that_takes_too_long_fails_the_scan(project: Path, repo: Path) -> None:
    with pytest.raises(ScanFailed, match=r"took longer than 0\.01 s"):
        run(project, tool_timeout_seconds=0.01)


def test_a_failed_tool_leaves_the_others_their_findings(
    project: Path, repo: Path, broken_bandit: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project)
    commit(repo, {"key.md": f"{TOKEN}\n"})
    monkeypatch.setenv("PYTHONPATH", broken_bandit["PYTHONPATH"])
    with pytest.raises(ScanFailed, match="Of the rest: 1 new"):
        run(project)


def test_a_damaged_history_is_not_a_clean_one(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"key.md": f"{TOKEN}\n"})
    commit(repo, {"key.md": "gone\n"})
    blob = git(repo, "rev-parse", "HEAD~1:key.md")
    lost = repo / ".git/objects" / blob[:2] / blob[2:]
    content = lost.read_bytes()
    lost.chmod(0o600)
    lost.unlink()
    with pytest.raises(ScanFailed, match=r"shop: history: git says: "):
        run(project)
    lost.write_bytes(content)
    assert rules(run(project)) == ["github-token"]  # the scan that failed did not move the place to begin at


def test_a_history_that_takes_several_scans_is_searched_to_its_end(
    project: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHUNK", 1)
    run(project)
    commit(repo, {"key.md": f"{TOKEN}\n"})
    commit(repo, {"key.md": "gone\n"})
    commit(repo, {"key.md": f"{OTHER}\n"})
    commit(repo, {"key.md": "gone too\n"})
    blob = git(repo, "rev-parse", "HEAD~1:key.md")
    lost = repo / ".git/objects" / blob[:2] / blob[2:]
    content = lost.read_bytes()
    lost.chmod(0o600)
    lost.unlink()
    told: list[str] = []
    with pytest.raises(ScanFailed, match="2 commits were searched, and the next scan continues"):
        run(project, reported=told)
    assert [line for line in told if line.startswith("new high") and "github-token" in line]
    lost.write_bytes(content)
    rest = run(project)
    assert (rules(rest), rest["looked_at"]["shop history"]) == (["gitlab-token"], 2)


def test_code_of_the_repository_is_not_run(project: Path, repo: Path) -> None:
    marker = project / "ran"
    trap = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    commit(repo, {"bandit.py": trap, "json.py": trap, "sitecustomize.py": trap})
    (repo / ".git/config").write_text((repo / ".git/config").read_text() + f"[core]\n\tfsmonitor = touch {marker}\n")
    run(project)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [("gone", "the folder does not exist"), ("file", "it is not a folder"), ("nothing/*", "the folder does not exist")],
)
def test_a_repository_that_cannot_be_scanned_hurts_no_other(project: Path, repo: Path, place: str, said: str) -> None:
    (project / "file").touch()
    run(project)
    commit(repo, {"key.md": f"{TOKEN}\n"})
    told: list[str] = []
    with pytest.raises(ScanFailed, match=f"{said}.* The rest: 1 new"):
        run(project, repos=[place, "shop"], reported=told)


def test_a_folder_without_git_is_scanned_and_said(project: Path) -> None:
    (project / "plain").mkdir()
    (project / "plain/a.md").write_text(f"{TOKEN}\n")
    found = run(project, repos=["plain"])
    assert found["not_seen"][0].startswith("plain: repository: it is not a git repository: there is no history to scan")
    assert found["by_severity"]["known"] == {"high": 1}


def test_what_a_tool_left_out_is_said(project: Path, repo: Path) -> None:
    commit(repo, {"old.py": "print 'python 2'\n", "vendor/x.md": f"{TOKEN}\n", "big.txt": "x" * (2 << 20)})
    shallow = project / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repo}", str(shallow)], check=True)
    said = run(project, repos=["shop", "shallow"], exclude=("vendor/*",), file_limit_mib=1)["not_seen"]
    assert "shop: repository: `exclude` leaves out 1 files" in said
    assert "shop: secrets: big.txt is larger than 1 MiB" in said
    assert any(one.startswith("shop: bandit: old.py cannot be parsed by bandit") for one in said)
    assert any(one.startswith("shallow: history: it is a shallow clone") for one in said)
    assert not any("vendor" in one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
                   for part in report(project)["runs"] if part["tool"]["driver"]["name"] == "horae secrets"
                   for one in part["results"])  # fmt: skip


def test_names_that_are_not_utf8_are_scanned(project: Path, repo: Path) -> None:
    run(project)
    odd = os.fsdecode(b"caf\xe9 \n.py")
    commit(repo, {odd: f'import pickle\npickle.loads(x)\nk = "{TOKEN}"\n', "naïve dir/ü.md": f"{OTHER}\n"})
    assert [one for one in rules(run(project)) if not one.startswith("B4")] == ["B301", "github-token", "gitlab-token"]
    commit(repo, {odd: "", "naïve dir/ü.md": ""})
    places = [one["place"] for one in run(project, run_id="x", repos=["shop"])["new"]]
    assert places == []


def test_permissions(project: Path, repo: Path) -> None:
    run(project)
    for name, mode in {"open.txt": 0o666, "open.sh": 0o777, "suid": 0o4755, "id_rsa": 0o644, ".env": 0o600}.items():
        (repo / name).write_text("x\n")
        (repo / name).chmod(mode)
    (repo / "tls.pem").write_text("-----BEGIN " + "CERTIFICATE-----\n")
    (repo / ".env.example").write_text("K=\n")
    found = {(one["place"], one["rule"], one["severity"]) for one in run(project)["new"]}
    assert found == {
        ("shop/open.txt", "world-writable", "medium"),
        ("shop/open.sh", "world-writable", "high"),
        ("shop/suid", "setuid", "high"),
        ("shop/id_rsa", "readable-secret", "medium"),
    }


DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG BASE=python
FROM ${BASE}:3.13-slim AS build
FROM node
ENV API_TOKEN=abc \\
    PORT=80
ADD https://example.org/tool /usr/bin/tool
RUN apt-get update && \\
    curl -s https://example.org/install | sudo bash
COPY . .
FROM build
"""
COMPOSE = """\
services:
  web:
    image: web:1
    privileged: true
    volumes: ["/var/run/docker.sock:/var/run/docker.sock"]
    environment: {DB_PASSWORD: abc123, OTHER_PASSWORD: "${FROM_OUTSIDE}", KEY_FILE: /run/key, SECRET_FILE: /run/x}
    ports: ["80:80", "127.0.0.1:81:81"]
"""


def test_container_files(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"Dockerfile": DOCKERFILE, "compose.yaml": COMPOSE})
    found = {(one["rule"], one["place"]) for one in run(project)["new"]}
    assert found == {
        ("unpinned-image", "shop/Dockerfile:4"),
        ("secret-in-image", "shop/Dockerfile:5"),
        ("unchecked-download", "shop/Dockerfile:7"),
        ("pipe-to-shell", "shop/Dockerfile:8"),
        ("copies-all", "shop/Dockerfile:10"),
        ("runs-as-root", "shop/Dockerfile:11"),
        ("privileged", "shop/compose.yaml:2"),
        ("docker-socket", "shop/compose.yaml:2"),
        ("secret-in-compose", "shop/compose.yaml:2"),
        ("published-port", "shop/compose.yaml:2"),
    }
    commit(repo, {"compose.yaml": "services: [", "Containerfile": "RUN true\n"})
    said = run(project)["not_seen"]
    assert any("compose.yaml cannot be read: it is not YAML" in one for one in said)
    assert any("Containerfile cannot be read: it has no FROM" in one for one in said)


def test_a_sound_dockerfile_has_no_findings(tmp_path: Path) -> None:
    text = "FROM python:3.13-slim@sha256:abc\nFROM scratch\nCOPY app /app\nUSER 10001\nENV PASSWORD_FILE=/run/secret\n"
    assert list(container_files.dockerfile(text, tmp_path / "Dockerfile")) == []


def test_the_oldest_reports_are_removed(project: Path, repo: Path) -> None:
    folder = project / ".horae/security"
    run(project)
    for day in range(1, 6):
        (folder / f"2026010{day}T040000Z.sarif").write_text("{}")
    (folder / "notes.sarif").write_text("mine")
    run(project, keep_reports=1)
    kept = sorted(path.name for path in folder.glob("*.sarif"))
    assert len(kept) == 3
    assert {"latest.sarif", "notes.sarif"} < set(kept)
    assert not any(name.startswith("20260") for name in kept)
    assert {path.stat().st_mode & 0o777 for path in folder.glob("2*.sarif")} == {0o600}


def test_a_damaged_memory_stops_the_scan_before_all_is_new(project: Path, repo: Path) -> None:
    run(project)
    (project / ".horae/security/known.json").write_text("{")
    with pytest.raises(ScanFailed, match=r"known\.json cannot be read .*move it away to begin again"):
        run(project)


def test_a_severity_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'severe' is not one of critical, high, medium, low, never"):
        ScanSettings(fail_at="severe")


# Kills itself before its n-th rename; "limit": the disk ends there.
SCAN = """
import os, resource, signal, sys
from pathlib import Path
from horae import RunContext
from horae.jobs.context import running
from infra._scan.settings import ScanSettings
from infra.security_scan import security_scan
project, left, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def watch(event, arguments):
    global left
    if event == "os.rename":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
with running(RunContext(job="security-scan", run_id="second", project=project, settings=ScanSettings())):
    sys.addaudithook(watch)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    security_scan(repos=["shop"])
"""


def in_a_process(project: Path, kill_at: int = 0, limit: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCAN, str(project), str(kill_at), str(limit)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_scan_that_is_killed_is_made_up_for_by_the_next_attempt(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"key.md": f"{TOKEN}\n"})
    for number in range(1, 5):
        assert in_a_process(project, kill_at=number).returncode == -signal.SIGKILL
    done = in_a_process(project)
    assert "NewFindings: 1 new findings: high github-token in shop/key.md:1" in done.stderr
    assert run(project)["new"] == []
    assert not list((project / ".horae/security").glob("*.new"))


def test_a_full_disk_fails_the_scan_and_loses_nothing(project: Path, repo: Path) -> None:
    run(project)
    commit(repo, {"key.md": f"{TOKEN}\n"})
    known = (project / ".horae/security/known.json").read_bytes()
    full = in_a_process(project, limit=1000)
    assert full.returncode == 1
    assert "File too large" in full.stderr
    assert (project / ".horae/security/known.json").read_bytes() == known
    assert rules(run(project)) == ["github-token"]
