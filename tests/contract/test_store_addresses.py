"""Store and queue work the same with every kind of address, on real servers of each kind."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.exceptions import NoPermissionError

from horae.errors import StoreUnavailable
from horae.local.ports import LOOPBACK
from horae.messages import Message
from horae.queues.redis import RedisConsumer, RedisPublisher
from horae.reasons import Reason
from horae.redis.access import RedisAccess
from horae.redis.clients import open_client
from horae.runs import State
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from horae.store.values import Answer
from tests.contract.stores import claim, new, send, settle, state
from tests.redis_servers import SERVICE, Cluster, Server, Watched, cluster, sentinel, server, tls_watched, watched
from tests.tls import Certificates, TlsDoor, make_certificates

pytestmark = pytest.mark.requires("valkey")
LEASE = timedelta(seconds=30)
PASSWORD = "p/w:@ #?%"
QUOTED = "p%2Fw%3A%40%20%23%3F%25"
PAGE = Path(__file__).parents[2] / "docs/how-to/use-your-own-redis.md"
LIMIT = 65536


@dataclass(frozen=True)
class Reached:
    """A server by its address."""

    url: str
    access: RedisAccess = field(default_factory=RedisAccess)

    def store(self, namespace: str | None = None) -> RedisStore:
        settings = StoreSettings(url=SecretStr(self.url), **dict(self.access))
        return RedisStore(self.url, namespace or f"t{uuid.uuid4().hex[:12]}", settings)

    def client(self, key: str, **options: Any) -> Any:
        return open_client(self.url, self.access, key, timeout_seconds=5, decode=True, **options)


@asynccontextmanager
async def opened(reached: Reached, namespace: str | None = None) -> AsyncIterator[RedisStore]:
    store = reached.store(namespace)
    try:
        await store.check()
        yield store
    finally:
        await store.close()


def rule() -> list[str]:
    """The rights of Horae's user, as the documentation page on own servers states them."""
    [found] = re.findall(r"^ACL SETUSER horae (.*?)\n```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found).replace("\\\n", " ").split()


def user(name: str = "horae", password: str = PASSWORD) -> list[str]:
    """The server option that creates this user, with the rights of the page, for any namespace."""
    words = [f">{password}" if word.startswith(">") else "~*" if word.startswith("~") else word for word in rule()]
    return [name, *words]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plain")
    with server(folder, "--unixsocket", str(folder / "socket")) as found:
        found.ask("ACL", "SETUSER", *user())
        yield found


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("sentinels")) as found:
        yield found


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        for node in found.nodes:
            node.ask("ACL", "SETUSER", *user())
        yield found


@pytest.fixture(scope="module")
def tls_port(plain: Server, certificates: Certificates) -> Iterator[int]:
    with TlsDoor(plain.port, certificates.context()) as door:
        yield door.port


@pytest.fixture(scope="module")
def mutual_port(plain: Server, certificates: Certificates) -> Iterator[int]:
    with TlsDoor(plain.port, certificates.context(ask_client=True)) as door:
        yield door.port


@pytest.fixture(scope="module")
def tls_sentinel(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tls-sentinel")
    with tls_watched(folder, lambda port: TlsDoor(port, certificates.context())) as (url, _):
        yield url


@pytest.fixture(scope="module")
def tls_nodes(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[str]:
    with ExitStack() as stack:

        def announce(port: int) -> int:
            return stack.enter_context(TlsDoor(port, certificates.context())).port

        found = stack.enter_context(cluster(tmp_path_factory.mktemp("tls-cluster"), announce))
        yield found.url.replace("redis+", "rediss+")


KINDS = (
    *("plain", "unix", "user in the URL", "user as settings", "password in a file"),
    *("tls", "tls both ways", "sentinel", "sentinel over tls", "cluster", "cluster with a user", "cluster over tls"),
)


@pytest.fixture(params=KINDS)
def reached(request: pytest.FixtureRequest, certificates: Certificates, tmp_path: Path) -> Reached:
    def of(name: str) -> Any:
        return request.getfixturevalue(name)

    trusting = RedisAccess(tls_ca_file=certificates.authority)
    if request.param in ("tls", "tls both ways"):
        if request.param == "tls":
            return Reached(f"rediss://{LOOPBACK}:{of('tls_port')}/0", trusting)
        shown = {"tls_cert_file": certificates.client, "tls_key_file": certificates.client_key}
        return Reached(f"rediss://{LOOPBACK}:{of('mutual_port')}/0", trusting.model_copy(update=shown))
    if request.param == "password in a file":
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        return Reached(of("plain").url, RedisAccess(username="horae", password_file=tmp_path / "password"))
    as_settings = RedisAccess(username="horae", password=SecretStr(PASSWORD))
    found = {
        "plain": lambda: Reached(of("plain").url),
        "unix": lambda: Reached(f"unix://{of('plain').folder}/socket?db=1"),
        "user in the URL": lambda: Reached(f"redis://horae:{QUOTED}@{LOOPBACK}:{of('plain').port}/2"),
        "user as settings": lambda: Reached(of("plain").url, as_settings),
        "sentinel": lambda: Reached(of("sentinels").url),
        "sentinel over tls": lambda: Reached(of("tls_sentinel"), trusting),
        "cluster": lambda: Reached(of("nodes").url),
        "cluster with a user": lambda: Reached(of("nodes").url, as_settings),
        "cluster over tls": lambda: Reached(of("tls_nodes"), trusting),
    }
    return found[request.param]()


async def accepted(store: RedisStore) -> Message:
    [message] = await send(store, new(context={"path": "/srv"}))
    return message


async def test_a_run_goes_from_accepted_to_its_verdict(reached: Reached) -> None:
    async with opened(reached) as store:
        message = await accepted(store)
        first, second = await claim(store, message, "w1"), await claim(store, message, "w2")
        assert (first.answer, second.answer) == (Answer.RUN, Answer.DUPLICATE)
        assert await asyncio.to_thread(store.claims.renew, [first], LEASE) == [None]
        await store.ledger.append_log(message.run_id, ["one", "two"])
        assert await settle(store, first)
        assert await store.ledger.log(message.run_id) == ["one", "two"]
        run = await state(store, message.run_id)
        assert (run.state, run.context, run.attempts) == (State.RAN, {"path": "/srv"}, 1)
        assert [found.run_id for found in await store.ledger.runs(job="backup")] == [message.run_id]
        assert (await store.ledger.latest(["backup"]))["backup"].settled == run
        letter = await store.dead_letters.bury(b"no message", Reason.INVALID_MESSAGE, "malformed")
        assert [found.run_id for found in await store.dead_letters.newest()] == [letter]


async def test_a_message_goes_from_published_to_acknowledged(reached: Reached, namespace: str) -> None:
    publisher = RedisPublisher(reached.url, namespace, LIMIT, reached.access)
    consumer = RedisConsumer(reached.url, namespace, LIMIT, "w1", reached.access)
    try:
        await publisher.check()
        waiting = asyncio.create_task(consumer.receive(10, timedelta(seconds=10)))
        await publisher.publish([Message(job="backup", run_id="r1")])
        [delivery] = await waiting
        assert delivery.message
        assert delivery.message.run_id == "r1"
        await consumer.ack([delivery])
        assert await consumer.receive(10, timedelta(0)) == []
    finally:
        await consumer.close()
        await publisher.close()


@pytest.mark.parametrize("kind", ["stranger", "unknown authority", "no certificate shown"])
async def test_tls_is_verified(kind: str, plain: Server, certificates: Certificates, tmp_path: Path) -> None:
    certificate = certificates.stranger if kind == "stranger" else None
    trusted = make_certificates(tmp_path) if kind == "unknown authority" else certificates
    with TlsDoor(plain.port, certificates.context(certificate, ask_client=kind == "no certificate shown")) as door:
        reached = Reached(f"rediss://{LOOPBACK}:{door.port}", RedisAccess(tls_ca_file=trusted.authority))
        with pytest.raises(StoreUnavailable):
            await checked(reached)
        if kind == "stranger":
            lenient = RedisAccess(tls_ca_file=trusted.authority, tls_check_hostname=False)
            await checked(Reached(reached.url, lenient))


async def checked(reached: Reached) -> None:
    async with opened(reached):
        pass


async def test_a_password_that_changes_in_its_file_is_read_again(plain: Server, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    plain.ask("ACL", "SETUSER", *user("rotated", "first"))
    reached = Reached(plain.url, RedisAccess(username="rotated", password_file=file))
    async with opened(reached) as store:
        await accepted(store)
        plain.ask("ACL", "SETUSER", *user("rotated", "second"), "<first")
        plain.ask("CLIENT", "KILL", "USER", "rotated")
        with pytest.raises(StoreUnavailable, match="refuses these credentials"):
            await accepted(store)
        file.write_text("second")
        await accepted(store)
        file.unlink()
        plain.ask("CLIENT", "KILL", "USER", "rotated")
        with pytest.raises(StoreUnavailable, match="the password cannot be read"):
            await accepted(store)


async def test_sentinels_have_a_password_of_their_own(tmp_path: Path) -> None:
    with server(tmp_path / "primary") as primary:
        primary.ask("ACL", "SETUSER", *user())
        primary.ask("CONFIG", "SET", "requirepass", "of-default")
        [rights] = re.findall(r"`(\+sentinel\|[^`]*)`", PAGE.read_text())
        lines = (
            f"sentinel auth-pass {SERVICE} of-default",
            "requirepass of-operator",
            f"user watcher on >of-sentinel resetchannels -@all {rights}",
        )
        with sentinel(tmp_path / "sentinel", primary.port, 1, *lines) as watcher:
            url = f"redis+sentinel://{LOOPBACK}:{watcher.port}/{SERVICE}"
            servers = {"username": "horae", "password": SecretStr(PASSWORD)}
            own = RedisAccess(**servers, sentinel_username="watcher", sentinel_password=SecretStr("of-sentinel"))
            async with opened(Reached(url, own)) as store:
                await accepted(store)
            for wrong in (RedisAccess(**servers), own.model_copy(update={"password": SecretStr("wrong")})):
                with pytest.raises(StoreUnavailable):
                    await checked(Reached(url, wrong))


async def test_an_unknown_service_is_named(sentinels: Watched) -> None:
    with pytest.raises(StoreUnavailable, match="cannot find the primary of other: "):
        await checked(Reached(sentinels.url.replace(SERVICE, "other")))


async def test_the_user_of_the_page_may_do_nothing_else(plain: Server) -> None:
    plain.ask("ACL", "SETUSER", "narrow", *[f">{PASSWORD}" if word.startswith(">") else word for word in rule()])
    reached = Reached(plain.url, RedisAccess(username="narrow", password=SecretStr(PASSWORD)))
    async with opened(reached, "horae") as store:
        await accepted(store)
    client = reached.client("{horae}:")
    try:
        for words in (
            *(("GET", "other"), ("SET", "{horae2}:run", 1), ("KEYS", "*"), ("SCAN", 0), ("FLUSHALL",), ("FLUSHDB",)),
            *(("CONFIG", "SET", "appendonly", "no"), ("SHUTDOWN",), ("ACL", "LIST"), ("PUBLISH", "c", "m")),
            *(("EVAL", "return 1", 0), ("SCRIPT", "FLUSH"), ("CLIENT", "LIST"), ("REPLICAOF", "NO", "ONE")),
        ):
            with pytest.raises(NoPermissionError):
                await client.execute_command(*words)
    finally:
        await client.aclose()
