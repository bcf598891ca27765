"""The embedded servers as parts of `horae up`: Valkey, and a broker that the settings ask for."""

import asyncio
from pathlib import Path

from horae.files import private_folder
from horae.local.embedded import FOLDER
from horae.local.valkey import answers, command, secret_of, what_to_do
from horae.queues.base import EmbeddedServer
from horae.up.parts import Part


def store_part(state: Path, port: int) -> Part:
    """The part `valkey`, with its data in `state/valkey`. Raises OSError or StartError."""
    folder = private_folder(state / FOLDER)
    secret = secret_of(folder)

    async def ready() -> bool:
        return await asyncio.to_thread(answers, port, secret.password)

    server = tuple(command(folder, port, secret))
    return Part(name="valkey", command=server, cwd=folder, ready=ready, what_to_do=what_to_do)


def broker_part(server: EmbeddedServer) -> Part:
    async def ready() -> bool:
        return await asyncio.to_thread(server.answers)

    return Part(name=server.name, command=server.command, cwd=server.folder, ready=ready)
