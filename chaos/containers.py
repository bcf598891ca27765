"""Processes of a chaos run as containers of an image, on the host's network, with the rights of `compose.yaml`."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from horae.errors import UsageError
from tests.processes import ROOT, Service, started

CONFINED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp")
PASSED = ("HORAE_", "CHAOS_", "LD_PRELOAD", "PYTHONPATH")
JOURNAL = "/opt/chaos"
"""Where the container finds the module `chaos`, which the generated jobs import."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A container image to start the processes from."""

    name: str
    mark: str = ""

    def start(self, kind: str, name: str, project: Path, environment: dict[str, str]) -> Service:
        _open_to_all(project)
        container = f"{project.parent.name}-{name}"
        environment = environment | {"PYTHONPATH": JOURNAL}
        passed = [word for key in environment if key.startswith(PASSED) for word in ("--env", key)]
        command = [
            *("docker", "run", "--rm", "--name", container, "--network", "host", *CONFINED, *passed),
            *("--volume", f"{ROOT / 'chaos'}:{JOURNAL}/chaos:ro", "--volume", f"{project}:{project}"),
            *("--volume", f"{project.parent / 'store'}:{project.parent / 'store'}:ro", "--workdir", str(project)),
            *(self.name, "python", f"/app/workers/{kind}.py"),
        ]
        process, log = started(command, project / f"{name}.log", env={**os.environ, **environment})
        return Container(name=name, kind=kind, process=process, log=log, container=container)


@dataclass(kw_only=True)
class Container(Service):
    """`process` is `docker run`, which passes SIGTERM on and ends with the status of the container."""

    container: str

    @property
    def pid(self) -> int:
        """Process 1 of the container, as the host sees it."""
        return int(_docker("inspect", "--format", "{{.State.Pid}}", self.container))

    def kill(self) -> None:
        _docker("kill", "--signal", "KILL", self.container)
        self.process.wait()


def checked(names: list[str]) -> list[Image]:
    """Raises UsageError where Docker does not have these images."""
    for name in names:
        try:
            _docker("image", "inspect", name)
        except (OSError, subprocess.CalledProcessError) as error:  # no docker, no engine, no image
            said = getattr(error, "stderr", None) or error
            raise UsageError(f"--image {name}: {str(said).strip()}. scripts/containers makes an image") from error
    return [Image(name=name) for name in names]


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _open_to_all(project: Path) -> None:
    """The processes of a container have a user of their own, and write the journal and the fence."""
    project.chmod(0o777)
    for path in project.glob("effects.sqlite*"):
        path.chmod(0o666)
