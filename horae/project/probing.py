"""Imports every job file once in a separate process, before a long-running process imports it.

An import may loop forever, end its process or leave threads running. To keep that away from other processes, a program
imports Horae once and forks for each file.
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
"""The time limit for one file. A heavy library on a cold disk of a busy machine takes less."""
START_SECONDS = 30.0


def probe(settings: Settings, seconds: float = IMPORT_SECONDS) -> dict[str, Probed]:
    """The import result of each job file, by module. `seconds` is the time limit for each.

    Files without a result are left out.
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
        except ValueError:  # a line that a program started by a file wrote
            continue
        found[module] = Probed(
            ended=not why,
            why=why,
            took=None if took is None else timedelta(seconds=took),
            effects=tuple(effects),
        )
    return found


def left_out(settings: Settings, probed: Mapping[str, Probed]) -> list[str]:
    """The job files, relative to the project, whose import does not finish."""
    files = ((module_of(folder, path), f"{folder}/{path.name}") for folder, path in job_files(settings))
    return [file for module, file in files if not probed.get(module, Probed()).ended]
