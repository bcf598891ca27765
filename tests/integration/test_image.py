"""The container image on a real engine: `scripts/containers start`, `base` and `build`, then DOCKER_HOST.

CI has no engine, so these tests are skipped there too.
"""

import subprocess

import pytest

from tests.requirements import images_absent

CONFINED = ("--rm", "--network", "host", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp")
CHECK = """
import os, pathlib
status = pathlib.Path("/proc/self/status").read_text()
print(os.getuid(), int(status.split("CapEff:")[1].split()[0], 16))
for name in (".horae/file", "/tmp/file", "horae/file"):
    try:
        pathlib.Path(name).write_text("")
        print("written")
    except OSError as error:
        print(error.strerror)
"""


pytestmark = pytest.mark.skipif(bool(images_absent("horae")), reason=images_absent("horae"))


def image(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["docker", "run", *CONFINED, "horae", *command], capture_output=True, text=True, check=False)


def test_a_process_has_no_rights_and_writes_to_its_state_folder() -> None:
    done = image("python", "-c", CHECK)
    assert done.stdout.splitlines() == ["10001 0", "written", "written", "Read-only file system"], done.stderr


def test_the_bundled_jobs_load() -> None:
    done = image("horae", "check")
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, "ok"), done.stderr


def test_the_packages_are_listed() -> None:
    done = image("python", "-c", "import json; print(json.load(open('sbom.cdx.json'))['bomFormat'])")
    assert done.stdout == "CycloneDX\n", done.stderr
