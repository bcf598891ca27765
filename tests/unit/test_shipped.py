"""What a user has in the tree beside the project's own files changes nothing that the tests look at."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import shipped


def test_files_that_git_does_not_track_and_additions_to_settings_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    (mine / "infra").mkdir(parents=True)
    (mine / "infra/theirs.py").write_text("1\n")
    (mine / "horae.toml").write_text('repos = ["."]\n')
    for command in ("init -q", "add ."):
        subprocess.run(["git", *command.split()], cwd=mine, check=True)
    (mine / "infra/theirs.py").write_text("2\n")
    (mine / "infra/my_own.py").write_text("import no_such_module\n")
    with (mine / "horae.toml").open("a") as file:
        file.write("not toml")
    monkeypatch.setattr(shipped, "ROOT", mine)

    found = shipped.ship(tmp_path / "found")
    assert sorted(path.name for path in found.rglob("*") if path.is_file()) == ["horae.toml", "theirs.py"]
    assert (found / "infra/theirs.py").read_text() == "2\n", "as it is in the working tree"
    assert (found / "horae.toml").read_text() == 'repos = ["."]\n'
    shutil.rmtree(mine)
