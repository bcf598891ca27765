"""What Horae writes is whole or not there, keeps its mode, and follows nobody's trap."""

import os
import stat
import threading
from pathlib import Path

import pytest

from horae.files import private_folder, written_whole


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str = "new") -> None:
    with written_whole(path) as file:
        file.write(text)


def test_a_new_file_is_private_and_whole(tmp_path: Path) -> None:
    write(tmp_path / "out", "é")
    assert ((tmp_path / "out").read_text(encoding="utf-8"), mode(tmp_path / "out")) == ("é", 0o600)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("given", [0o600, 0o640, 0o644])
def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, given: int) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(given)
    write(path)
    assert (path.read_text(), mode(path)) == ("new", given)


def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write(path, "half" * 100_000 + "\ud800")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["out"])


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write(link)
    assert (link.is_symlink(), target.read_text()) == (True, "new")


def test_the_name_of_the_draft_cannot_be_known(tmp_path: Path) -> None:
    drafts = set()
    for _ in range(3):
        with written_whole(tmp_path / "out"):
            drafts |= {name for name in os.listdir(tmp_path) if name != "out"}
    assert len(drafts) == 3


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write(pipe)
    reader.join(10)
    assert (got, stat.S_ISFIFO(pipe.stat().st_mode)) == (["new"], True)


def test_a_device_is_written_to_and_stays() -> None:
    write(Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_private_folder_closes_one_that_was_open(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert mode(private_folder(folder)) == 0o700
    assert mode(private_folder(tmp_path / "c" / "d")) == 0o700
