"""Which job files changed, told once and only when writing has paused."""

from pathlib import Path

from horae.settings import load
from horae.up.job_files import JobFiles, needs_restart


def test_added_edited_and_removed_files_are_told_once(project: Path) -> None:
    (project / "infra/a.py").write_text("1\n")
    files = JobFiles(load(project, {}))
    assert files.changed() == []
    (project / "infra/a.py").write_text("two\n")
    (project / "internal/_help").mkdir()
    (project / "internal/_help/b.py").write_text("1\n")
    (project / "README.md").write_text("no job\n")
    assert files.changed() == [], "it may still be written"
    assert files.changed() == ["infra/a.py", "internal/_help/b.py"]
    assert files.changed() == []
    (project / "infra/a.py").unlink()
    files.changed()
    assert files.changed() == ["infra/a.py"]


def test_a_file_that_goes_on_changing_is_waited_for(project: Path) -> None:
    files = JobFiles(load(project, {}))
    for number in range(3):
        (project / "infra/a.py").write_text("x" * number)
        assert files.changed() == []
    assert files.changed() == ["infra/a.py"]


def test_settings_and_deployments_are_told_apart(project: Path) -> None:
    files = JobFiles(load(project, {}))
    (project / "prefect.yaml").write_text("deployments: []\n")
    (project / "horae.toml").write_text("repos = []\n")
    (project / "flows/f.py").write_text("")
    files.changed()
    changed = files.changed()
    assert changed == ["flows/f.py", "horae.toml", "prefect.yaml"]
    assert needs_restart(changed) == ["horae.toml", "prefect.yaml"]
