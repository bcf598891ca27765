"""Real Valkey servers in every shape an address can name: behind users, Sentinels, a cluster, TLS."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from horae.runners.ports import LOOPBACK, free_port
from horae.runners.valkey import answers, binary, command
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

    def __init__(self, primary: Server, replica: Server, sentinel_ports: list[int]) -> None:
        self.primary, self.replica, self.sentinel_ports = primary, replica, sentinel_ports

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{LOOPBACK}:{port}' for port in self.sentinel_ports)}/{SERVICE}/0"

    def now_primary(self, by: int) -> int:
        """Its port, as that Sentinel has it."""
        with client_of(by) as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


@contextmanager
def watched(folder: Path, *sentinel_lines: str) -> Iterator[Watched]:
    with ExitStack() as stack:
        primary = stack.enter_context(server(folder / "primary"))
        replica = stack.enter_context(server(folder / "replica", "--replicaof", f"{LOOPBACK} {primary.port}"))
        ports = [
            stack.enter_context(sentinel(folder / f"sentinel{number}", primary.port, 2, *sentinel_lines))
            for number in range(3)
        ]
        wait_for(lambda: primary.ask("INFO", "replication")["slave0"]["state"] == "online", "the replica", 20)
        if not sentinel_lines:
            wait_for(lambda: all(_knows_the_others(port) for port in ports), "the Sentinels to know one another", 30)
        yield Watched(primary, replica, ports)


@contextmanager
def sentinel(folder: Path, primary_port: int, quorum: int, *lines: str) -> Iterator[int]:
    """Its port."""
    folder.mkdir(parents=True)
    port = free_port()
    (folder / "sentinel.conf").write_text(
        f"port {port}\nbind {LOOPBACK}\ndir {folder}\n"
        f"sentinel monitor {SERVICE} {LOOPBACK} {primary_port} {quorum}\n"
        f"sentinel down-after-milliseconds {SERVICE} 700\nsentinel failover-timeout {SERVICE} 3000\n"
        + "".join(f"{line}\n" for line in lines)
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(binary()), str(folder / "sentinel.conf"), "--sentinel"], stdout=log, stderr=log)
    try:
        wait_for(lambda: lines or answers(port), "the Sentinel")
        wait_for(lambda: "monitor master" in (folder / "log").read_text(), "the Sentinel to watch")
        yield port
    finally:
        process.kill()
        process.wait()


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
        entrance = stack.enter_context(door(watcher))
        yield f"rediss+sentinel://{LOOPBACK}:{entrance.port}/{SERVICE}/0", primary
