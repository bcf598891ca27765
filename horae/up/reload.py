"""Loads changed job files while `horae up` runs, by a restart of the sidecar and the queue worker."""

import asyncio
from collections.abc import Callable

from horae.clock import monotonic
from horae.project.loading import load
from horae.project.probing import probe
from horae.project.registry import Registry
from horae.settings import Settings
from horae.up.board import Board
from horae.up.job_files import JobFiles, needs_restart
from horae.up.parts import Parts

WORKERS, SIDECAR = ("queue-worker", "receiver"), "sidecar"
PATIENCE_SECONDS = 60.0
"""How long the queue worker may finish its active runs before it is stopped and hands them back."""
NAMED = 3


class Reload:
    """`look` is called repeatedly. The sidecar is restarted at once. The queue worker is restarted when it has no
    active run, because it would hand the run back, or after a minute.
    """

    def __init__(self, settings: Settings, parts: Parts, board: Board, took: Callable[[Registry], None]) -> None:
        """`took` gets the jobs that exist now."""
        self._settings, self._parts, self._board, self._took = settings, parts, board, took
        self._files = JobFiles(settings)
        self._worker_until: float | None = None

    async def look(self) -> None:
        changed = self._files.changed()
        if later := needs_restart(changed):
            self._board.say(f"{_named(later)} changed; restart `horae up` to load this", "yellow")
        if jobs := [file for file in changed if file not in later]:
            await self._jobs_changed(jobs)
        if self._worker_until is None:
            return
        if not self._board.durable_running or monotonic() > self._worker_until:
            self._worker_until = None
            for part in self._parts.status():
                if part.name in WORKERS:
                    await self._parts.restart(part.name)
            self._board.say("the queue worker has loaded the changed jobs")

    async def _jobs_changed(self, files: list[str]) -> None:
        # A file that loops or ends its process at import must not do that in this process.
        registry = load(self._settings, await asyncio.to_thread(probe, self._settings))
        self._board.registry = registry
        self._took(registry)
        self._board.say(f"{_named(files)} changed: loading {len(registry.names)} jobs", "cyan")
        for problem in registry.problems:
            if problem.file in files:
                self._board.say(f"{problem.code} {problem.file}:{problem.line or 1}: {problem.message}", "red")
        self._worker_until = monotonic() + PATIENCE_SECONDS
        if self._board.durable_running:
            self._board.say(f"the queue worker first finishes its active runs, for at most {PATIENCE_SECONDS:g} s")
        await self._parts.restart(SIDECAR)


def _named(files: list[str]) -> str:
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(files[:NAMED]) + more
