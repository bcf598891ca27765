"""The one real Valkey of a bench: append-only, fsynced each second, on a free loopback port."""

from pathlib import Path

import redis

from benchmarks.processes import Processes
from horae.local.ports import LOOPBACK, free_port
from horae.local.valkey import answers, command
from tests.waiting import wait_for

REWRITE_SECONDS = 60.0


class Valkey:
    """Runs until `processes` ends it."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        data = folder / "valkey"
        data.mkdir()
        port = free_port()
        # The command that `horae up` uses: appendonly yes, appendfsync everysec, no snapshots, no eviction.
        self.process = processes.start("valkey", command(data, port), data)
        wait_for(lambda: answers(port), "Valkey to answer")
        self.url = f"redis://{LOOPBACK}:{port}/0"
        self.client: redis.Redis = redis.Redis.from_url(self.url, decode_responses=True, protocol=2)

    @property
    def version(self) -> str:
        info = self.client.info("server")
        assert isinstance(info, dict)
        return str(info.get("valkey_version") or info.get("redis_version"))

    def empty(self) -> None:
        """As if just started: no key, and a short append-only file, so that no rewrite falls into a measurement."""
        self.process.must_live()
        self.client.flushall()
        # The server may be at a rewrite of its own accord.
        wait_for(self._rewritten, "the append-only file to be rewritten", REWRITE_SECONDS)
        self.client.bgrewriteaof()
        wait_for(self._rewritten, "the append-only file to be rewritten", REWRITE_SECONDS)

    def _rewritten(self) -> bool:
        info = self.client.info("persistence")
        assert isinstance(info, dict)
        return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]
