"""Imports every job file once in a process of its own, before a process that is to live long does.

An import may loop for ever, end its process, leave threads behind. Here that hurts nobody: a program imports Horae
once, and forks for each file.
"""

import json
import os
import sys
from collections.abc import Mapping
from datetime import timedelta

from horae.programs import run_program
from horae.project.loading import job_files, module_of
from horae.project.probed import Probed
from horae.settings import Settings

IMPORT_SECONDS = 20.0
"""For one file. A heavy library on a cold disk of a busy machine takes less."""
START_SECONDS = 30.0


def probe(settings: Settings, seconds: float = IMPORT_SECONDS) -> dict[str, Probed]:
    """What was seen of each job file, by module; `seconds` bounds the import of each.

    Files that nothing was seen of are left out.
    """
    modules = [module_of(folder, path) for folder, path in job_files(settings)]
    if not modules:
        return {}
    command = [sys.executable, "-m", "horae.project.prober", str(settings.project), str(seconds), *modules]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    limit = START_SECONDS + seconds * len(modules)
    done = run_program(command, cwd=settings.project, env=environment, timeout_seconds=limit)
    found: dict[str, Probed] = {}
    for line in done.stdout.decode(errors="replace").splitlines():
        try:
            module, why, took, effects = json.loads(line)
        except ValueError:  # what a program that a file started wrote meanwhile
            continue
        found[module] = Probed(
            ended=not why,
            why=why,
            took=None if took is None else timedelta(seconds=took),
            effects=tuple(effects),
        )
    return found


def left_out(settings: Settings, probed: Mapping[str, Probed]) -> list[str]:
    """The job files, relative to the project, whose import does not come to its end."""
    files = ((module_of(folder, path), f"{folder}/{path.name}") for folder, path in job_files(settings))
    return [file for module, file in files if not probed.get(module, Probed()).ended]
