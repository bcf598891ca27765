"""Real Valkey servers in every shape an address can name: behind users, Sentinels, a cluster, TLS."""

import secrets
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from horae.local.ports import LOOPBACK, free_port
from horae.local.valkey import binary, command
from tests.tls import TlsDoor
from tests.waiting import wait_for

SERVICE = "horae-store"
SLOTS = 16384
READY = "Ready to accept connections"


class Server:
    """One valkey-server, append-only; `options` as on its command line. It can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port, self.options = folder, free_port(), list(options)
        self.announced = self.port
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        before = self.log().count(READY)
        with (self.folder / "log").open("ab") as log:
            arguments = [*command(self.folder, self.port), *self.options]
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        wait_for(lambda: self.log().count(READY) > before, f"Valkey on port {self.port}, see {self.folder}/log")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """It is there and says nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return (self.folder / "log").read_text() if (self.folder / "log").exists() else ""

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def ask(self, *words: Any) -> Any:
        """One command, as the user `default`."""
        with client_of(self.port) as client:
            return client.execute_command(*words)


def client_of(port: int) -> Any:
    return redis.Redis(host=LOOPBACK, port=port, decode_responses=True, socket_timeout=2)


@contextmanager
def server(folder: Path, *options: str) -> Iterator[Server]:
    found = Server(folder, *options)
    try:
        found.start()
        yield found
    finally:
        found.kill()


class Watched:
    """A primary, a replica and three Sentinels; `url` with `redis+sentinel://`."""

    def __init__(self, primary: Server, replica: Server, sentinels: list["Sentinel"]) -> None:
        self.primary, self.replica, self.sentinels = primary, replica, sentinels

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{LOOPBACK}:{one.port}' for one in self.sentinels)}/{SERVICE}/0"

    def now_primary(self) -> int:
        """Its port, as the first Sentinel has it."""
        with client_of(self.sentinels[0].port) as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def fail_over(self) -> None:
        """As an operator does it, with the primary alive."""
        with client_of(self.sentinels[0].port) as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        primary = stack.enter_context(server(folder / "primary", "--repl-diskless-sync-delay", "0"))
        replica = stack.enter_context(server(folder / "replica", "--replicaof", f"{LOOPBACK} {primary.port}"))
        wait_for(lambda: primary.ask("INFO", "replication").get("slave0", {}).get("state") == "online", "the replica")
        found = [stack.enter_context(sentinel(folder / f"sentinel{number}", primary.port, 2)) for number in range(3)]
        wait_for(lambda: all(_knows_the_others(one.port) for one in found), "the Sentinels to know one another", 30)
        yield Watched(primary, replica, found)


class Sentinel:
    """One Sentinel; `lines`: more of its configuration."""

    def __init__(self, folder: Path, primary_port: int, quorum: int, *lines: str) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port, self.id = folder, free_port(), secrets.token_hex(20)
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind {LOOPBACK}\ndir {folder}\nsentinel myid {self.id}\n"
            f"sentinel monitor {SERVICE} {LOOPBACK} {primary_port} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} 700\nsentinel failover-timeout {SERVICE} 3000\n"
            + "".join(f"{line}\n" for line in lines)
        )

    def introduce(self, replica: Server, others: Iterable["Sentinel"]) -> None:
        """Before the start: what it would find out by itself in some seconds."""
        with (self.folder / "sentinel.conf").open("a") as file:
            file.write(f"sentinel known-replica {SERVICE} {LOOPBACK} {replica.port}\n")
            for one in others:
                file.write(f"sentinel known-sentinel {SERVICE} {LOOPBACK} {one.port} {one.id}\n")

    def start(self) -> None:
        with (self.folder / "log").open("wb") as log:
            arguments = [str(binary()), str(self.folder / "sentinel.conf"), "--sentinel"]
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        wait_for(lambda: "+monitor" in (self.folder / "log").read_text(), f"Sentinel, see {self.folder}/log")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


@contextmanager
def sentinel(folder: Path, primary_port: int, quorum: int, *lines: str) -> Iterator[Sentinel]:
    found = Sentinel(folder, primary_port, quorum, *lines)
    try:
        found.start()
        yield found
    finally:
        found.kill()


def _knows_the_others(port: int) -> bool:
    with client_of(port) as client:
        state = client.sentinel_master(SERVICE)
    return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)


class Cluster:
    """Three primaries; `url` with `redis+cluster://`, which names two of them."""

    def __init__(self, nodes: list[Server]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{LOOPBACK}:{node.announced}' for node in self.nodes[:2])}"

    def owner(self, key: str) -> Server:
        """The node that holds the key's slot."""
        slot = self.nodes[0].ask("CLUSTER", "KEYSLOT", key)
        for start, end, (_, port, *_), *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if start <= slot <= end:
                return next(node for node in self.nodes if node.announced == port)
        raise AssertionError(f"nobody holds slot {slot}")


@contextmanager
def cluster(folder: Path, announce: Callable[[int], int] | None = None) -> Iterator[Cluster]:
    """`announce`: from the port of a node to the one that clients are told."""
    with ExitStack() as stack:
        nodes = []
        for number in range(3):
            bus = free_port()
            node = Server(
                folder / f"node{number}",
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(bus)),
            )
            if announce:
                node.announced = announce(node.port)
                node.options += ["--cluster-announce-port", str(node.announced)]
            stack.callback(node.kill)
            node.start()
            nodes.append((node, bus))
        _join(nodes)
        yield Cluster([node for node, _ in nodes])


def _join(nodes: list[tuple[Server, int]]) -> None:
    first, *others = nodes
    share = SLOTS // len(nodes)
    for number, (node, _) in enumerate(nodes):
        last = SLOTS - 1 if number == len(nodes) - 1 else (number + 1) * share - 1
        node.ask("CLUSTER", "ADDSLOTSRANGE", number * share, last)
    for node, _ in others:
        node.ask("CLUSTER", "MEET", LOOPBACK, first[0].port, first[1])
    for node, _ in nodes:
        wait_for(lambda node=node: _whole(node), f"the cluster, as {node.port} sees it", 30)  # type: ignore[misc]


def _whole(node: Server) -> bool:
    info = node.ask("CLUSTER", "INFO")
    return "cluster_state:ok" in str(info) or (isinstance(info, dict) and info.get("cluster_state") == "ok")


@contextmanager
def tls_watched(folder: Path, door: Callable[[int], TlsDoor]) -> Iterator[tuple[str, Server]]:
    """A primary and a Sentinel behind doors that take TLS; the `rediss+sentinel://` address, and the primary."""
    with ExitStack() as stack:
        primary = stack.enter_context(server(folder / "primary"))
        front = stack.enter_context(door(primary.port))
        watcher = stack.enter_context(sentinel(folder / "sentinel", front.port, 1))
        entrance = stack.enter_context(door(watcher.port))
        yield f"rediss+sentinel://{LOOPBACK}:{entrance.port}/{SERVICE}/0", primary
