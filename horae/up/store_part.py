"""The embedded Valkey as a part of `horae up`."""

import asyncio
from pathlib import Path

from horae.local.embedded import FOLDER
from horae.local.valkey import answers, command
from horae.up.parts import Part


def store_part(state: Path, port: int) -> Part:
    """The part `valkey`, its data in `state/valkey`."""
    folder = state / FOLDER
    folder.mkdir(parents=True, exist_ok=True)

    async def ready() -> bool:
        return await asyncio.to_thread(answers, port)

    return Part(name="valkey", command=tuple(command(folder, port)), cwd=folder, ready=ready)
