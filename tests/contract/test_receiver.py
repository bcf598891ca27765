"""Cloud Tasks: what the receiver answers to each call, and what the publisher tells about queues.

The tokens of the calls are signed by an issuer of the test's own.
"""

import json
import threading
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from horae.errors import MessageTooLarge, QueueError, QueueUnavailable
from horae.local.ports import LOOPBACK
from horae.messages import Priority
from horae.queues.cloudtasks import receiver as room
from horae.queues.cloudtasks import tokens
from horae.queues.cloudtasks.publisher import CloudTasksPublisher
from horae.queues.cloudtasks.receiver import CloudTasksReceiver
from horae.queues.cloudtasks.settings import CloudTasksSettings
from tests.brokers.cloud_tasks import CloudTasksServer
from tests.contract.brokers import LIMIT_BYTES, SOON, cloud_tasks_at, messages
from tests.waiting import wait_until

ACCOUNT = "caller@p.iam.gserviceaccount.com"
URL = "https://horae.example/tasks"
NOW = 4_000_000_000
"""Long after any clock of a test, so that a token of then is valid."""


@dataclass
class Issuer:
    """An issuer of tokens, and the server of its keys."""

    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    asked: int = 0
    answer: bytes = b""
    """What it answers instead of its keys."""

    def __post_init__(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps({"keys": [issuer.public(name) for name in issuer.keys]}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(issuer.answer or body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.rotate("one")

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server.server_address[1]}"

    def rotate(self, name: str) -> None:
        self.keys = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def public(self, name: str) -> dict[str, Any]:
        return jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[name].public_key(), as_dict=True) | {"kid": name}

    def token(self, key: rsa.RSAPrivateKey | None = None, kid: str = "", **changed: Any) -> str:
        [(name, own)] = self.keys.items()
        claims = {"iss": self.url, "aud": URL, "email": ACCOUNT, "email_verified": True, "iat": 1, "exp": NOW}
        return jwt.encode(claims | changed, key or own, "RS256", headers={"kid": kid or name})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def shared_issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def issuer(shared_issuer: Issuer) -> Issuer:
    shared_issuer.asked = 0
    return shared_issuer


@dataclass
class Served:
    receiver: CloudTasksReceiver
    client: httpx.AsyncClient

    async def call(self, body: bytes, token: str) -> httpx.Response:
        return await self.client.post("/tasks", content=body, headers={"Authorization": f"Bearer {token}"})


@asynccontextmanager
async def served(issuer: Issuer) -> AsyncIterator[Served]:
    table = CloudTasksSettings(
        project="p",
        location="l",
        receiver_url=URL,
        service_account=ACCOUNT,
        issuer=issuer.url,
        keys_url=issuer.url,
        listen_port=0,
    )
    receiver = CloudTasksReceiver(table, LIMIT_BYTES)
    assert await receiver.receive(1, timedelta(0)) == []
    async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{receiver.port}", timeout=30) as client:
        yield Served(receiver, client)
    await receiver.close()


def body_of(priority: Priority = Priority.NORMAL) -> bytes:
    return messages(1, priority)[0].encode(LIMIT_BYTES)


class TestCalls:
    async def test_a_call_is_answered_well_once_its_message_is_acknowledged(self, issuer: Issuer) -> None:
        async with served(issuer) as here, TaskGroup() as group:
            call = group.create_task(here.call(body_of(), issuer.token()))
            [delivery] = await here.receiver.receive(5, SOON)
            assert not call.done()
            await here.receiver.ack([delivery])
            assert (await call).status_code == 200

    async def test_without_a_free_slot_cloud_tasks_is_asked_to_call_again(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(room, "TAKEN_SECONDS", 0.01)
        async with served(issuer) as here:
            answer = await here.call(body_of(), issuer.token())
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.text == "no slot is free, and the ready list is full; call again\n"
            assert await here.receiver.receive(5, timedelta(0)) == [], "nobody waits for its answer"

    async def test_what_is_not_acknowledged_is_called_again(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(room, "SETTLED_SECONDS", 0.01)
        async with served(issuer) as here, TaskGroup() as group:
            call = group.create_task(here.call(body_of(), issuer.token()))
            assert len(await here.receiver.receive(5, SOON)) == 1
            assert (await call).status_code == 503

    async def test_a_refused_message_is_called_again_soon(self, issuer: Issuer) -> None:
        async with served(issuer) as here, TaskGroup() as group:
            call = group.create_task(here.call(body_of(), issuer.token()))
            deliveries = await here.receiver.receive(5, SOON)
            await here.receiver.refuse(deliveries)
            answer = await call
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")

    async def test_at_the_end_calls_without_an_answer_are_called_again(self, issuer: Issuer) -> None:
        async with served(issuer) as here, TaskGroup() as group:
            call = group.create_task(here.call(body_of(), issuer.token()))
            assert len(await here.receiver.receive(5, SOON)) == 1
            await here.receiver.close()
            assert (await call).status_code == 503

    async def test_waiting_calls_are_taken_by_priority_and_none_starves(self, issuer: Issuer) -> None:
        async with served(issuer) as here, TaskGroup() as group:
            calls = [
                group.create_task(here.call(body_of(priority), issuer.token()))
                for priority in Priority
                for _ in range(24)
            ]
            await wait_until(lambda: len(here.receiver._open) == 72, "all calls to wait")
            found = await here.receiver.receive(24, timedelta(0))
            order = [one.message.priority for one in found if one.message]
            assert [order.count(one) for one in (Priority.HIGH, Priority.NORMAL, Priority.LOW)] == [16, 6, 2]
            rest = await here.receiver.receive(100, timedelta(0))
            await here.receiver.ack([*found, *rest])
            assert {(await call).status_code for call in calls} == {200}

    @pytest.mark.parametrize("body", [b"", b"{", b"\x00" * 100, b'{"job": 1}', b"x" * (2 << 20)])
    async def test_a_body_that_is_no_message_is_delivered_as_such(self, issuer: Issuer, body: bytes) -> None:
        async with served(issuer) as here, TaskGroup() as group:
            call = group.create_task(here.call(body, issuer.token()))
            [delivery] = await here.receiver.receive(5, SOON)
            assert delivery.message is None
            assert delivery.wrong
            assert len(delivery.body) < (1 << 20) + (1 << 17), "no more is kept than a task can have"
            await here.receiver.ack([delivery])
            assert (await call).status_code == 200

    async def test_other_paths_and_methods_are_not_there(self, issuer: Issuer) -> None:
        async with served(issuer) as here:
            assert (await here.client.post("/", content=b"")).status_code == 404
            assert (await here.client.get("/tasks")).status_code == 405

    async def test_a_port_that_is_taken_is_named_with_its_setting(self, issuer: Issuer) -> None:
        async with served(issuer) as here:
            table = here.receiver._table.model_copy(update={"listen_port": here.receiver.port})
            with pytest.raises(QueueUnavailable, match=r"Address already in use; set queue\.cloudtasks\.listen_port"):
                await CloudTasksReceiver(table, LIMIT_BYTES).receive(1, timedelta(0))


class TestTokens:
    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"iss": "https://evil.example"}, "issuer"),
            ({"aud": "https://another.example/tasks"}, "Audience"),
            ({"exp": 1}, "expired"),
            ({"iat": NOW}, "not yet valid"),
            ({"email": "other@p.iam.gserviceaccount.com"}, "not of caller@p"),
            ({"email_verified": False}, "not of caller@p"),
            ({"email": None}, "not of caller@p"),
        ],
    )
    async def test_a_wrong_claim_is_refused(self, issuer: Issuer, changed: dict[str, Any], why: str) -> None:
        async with served(issuer) as here:
            answer = await here.call(body_of(), issuer.token(**changed))
            assert answer.status_code == 401
            assert why in answer.text
            assert await here.receiver.receive(5, timedelta(0)) == []

    @pytest.mark.parametrize("header", ["", "Basic eA==", "Bearer", "Bearer x", "Bearer a.b.c", "bearer \x7f"])
    async def test_what_is_no_token_is_refused(self, issuer: Issuer, header: str) -> None:
        async with served(issuer) as here:
            answer = await here.client.post("/tasks", content=body_of(), headers={"Authorization": header})
            assert answer.status_code == 401

    async def test_a_foreign_signature_is_refused(self, issuer: Issuer) -> None:
        forger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        async with served(issuer) as here:
            assert (await here.call(body_of(), issuer.token(forger))).status_code == 401

    async def test_a_token_that_is_signed_with_nothing_or_with_a_secret_is_refused(self, issuer: Issuer) -> None:
        claims = jwt.decode(issuer.token(), options={"verify_signature": False})
        [name] = issuer.keys
        async with served(issuer) as here:
            for secret, algorithm in (("", "none"), ("s" * 64, "HS256")):
                made = jwt.encode(claims, secret, algorithm, headers={"kid": name})
                assert (await here.call(body_of(), made)).status_code == 401

    async def test_new_keys_are_fetched_and_strangers_do_not_make_it_fetch_them_each_time(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "AGAIN_SECONDS", 0.0)
        async with served(issuer) as here, TaskGroup() as group:
            for name in ("two", "three"):
                issuer.rotate(name)
                call = group.create_task(here.call(body_of(), issuer.token()))
                await here.receiver.ack(await here.receiver.receive(1, SOON))
                assert (await call).status_code == 200
            monkeypatch.setattr(tokens, "AGAIN_SECONDS", 60.0)
            asked = issuer.asked
            for number in range(5):
                assert (await here.call(body_of(), issuer.token(kid=f"unknown-{number}"))).status_code == 401
            assert issuer.asked == asked

    @pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]", b'{"keys": []}'])
    async def test_what_is_no_key_set_is_called_again_and_asked_for_once(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, answer: bytes
    ) -> None:
        monkeypatch.setattr(issuer, "answer", answer)
        async with served(issuer) as here:
            for _ in range(3):
                said = await here.call(body_of(), issuer.token())
                assert said.status_code == 503
                assert "cannot be fetched" in said.text
        assert issuer.asked == 1

    async def test_known_keys_stay_while_the_issuer_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = Issuer()
        async with served(own) as here, TaskGroup() as group:
            for _ in range(2):
                call = group.create_task(here.call(body_of(), own.token()))
                await here.receiver.ack(await here.receiver.receive(1, SOON))
                assert (await call).status_code == 200
                monkeypatch.setattr(tokens, "KEYS_SECONDS", -1.0)  # they are old, and the issuer is away from now on
                own.close()

    async def test_without_the_keys_it_is_called_again_and_not_refused(self) -> None:
        away = Issuer()
        token = away.token()
        async with served(away) as here:
            away.close()
            answer = await here.call(body_of(), token)
            assert answer.status_code == 503
            assert "cannot be fetched" in answer.text


@pytest.mark.requires("cloudtasks")
class TestPublisher:
    async def test_a_message_over_the_limit_of_a_task_is_told_before_it_is_sent(
        self, table: CloudTasksSettings, namespace: str
    ) -> None:
        publisher = CloudTasksPublisher(table, namespace, 4 << 20)
        [small] = messages(1)
        with pytest.raises(MessageTooLarge, match="1000000"):
            await publisher.publish([small.model_copy(update={"context": {"x": "x" * 1_000_000}})])
        await publisher.close()

    @pytest.fixture
    def table(self, cloud_tasks_server: CloudTasksServer) -> CloudTasksSettings:
        return CloudTasksSettings(**cloud_tasks_at(cloud_tasks_server)["cloudtasks"])

    async def test_a_paused_queue_is_told_with_the_command_that_resumes_it(
        self, table: CloudTasksSettings, namespace: str
    ) -> None:
        publisher = CloudTasksPublisher(table, namespace, LIMIT_BYTES)
        await publisher.check()
        async with admin(table) as client:
            await client.pause_queue(name=publisher.queues[Priority.HIGH])
        with pytest.raises(QueueError, match=rf"gcloud tasks queues resume .*{Priority.HIGH.value} --location=l"):
            await publisher.check()
        await publisher.close()

    async def test_a_queue_that_gives_up_is_told_with_the_command_that_changes_it(
        self, table: CloudTasksSettings, namespace: str
    ) -> None:
        publisher = CloudTasksPublisher(table, namespace, LIMIT_BYTES)
        async with admin(table) as client:
            queue = {"name": publisher.queues[Priority.LOW], "retry_config": {"max_attempts": 5}}
            await client.create_queue(parent="projects/p/locations/l", queue=queue)
        with pytest.raises(QueueError, match=r"gcloud tasks queues update .* --max-attempts=unlimited"):
            await publisher.publish(messages(1))
        await publisher.close()

    async def test_what_was_published_already_is_there_once(self, table: CloudTasksSettings, namespace: str) -> None:
        publisher, sent = CloudTasksPublisher(table, namespace, LIMIT_BYTES), messages(3)
        await publisher.publish(sent)
        await publisher.publish(sent)
        backlog = await publisher.backlog()
        assert backlog.messages == 3
        assert timedelta(0) <= backlog.oldest < timedelta(minutes=5)
        await publisher.close()

    async def test_it_says_that_the_service_is_away_and_goes_on_by_itself(self, tmp_path: Path, namespace: str) -> None:
        server = CloudTasksServer(tmp_path)
        server.start()
        table = CloudTasksSettings(**cloud_tasks_at(server)["cloudtasks"])
        publisher = CloudTasksPublisher(table, namespace, LIMIT_BYTES)
        await publisher.publish(messages(1))
        server.kill()
        for step in (publisher.check, lambda: publisher.publish(messages(1)), publisher.backlog):
            with pytest.raises(QueueUnavailable, match="Cloud Tasks at 127"):
                await step()
        server.start()
        await publisher.publish(messages(2))
        assert (await publisher.backlog()).messages == 2
        await publisher.close()
        server.kill()

    async def test_a_key_file_that_cannot_be_used_is_named(self, table: CloudTasksSettings, tmp_path: Path) -> None:
        (tmp_path / "key.json").write_text("{}")
        for name in ("none.json", "key.json"):
            own = table.model_copy(update={"endpoint": "", "credentials_file": Path(name)}).below(tmp_path)
            with pytest.raises(QueueUnavailable, match=rf"credentials_file .*{name} cannot be used"):
                await CloudTasksPublisher(own, "x", LIMIT_BYTES).check()


@asynccontextmanager
async def admin(table: CloudTasksSettings) -> AsyncIterator[Any]:
    client: Any = tasks_v2.CloudTasksAsyncClient(
        transport=CloudTasksGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(table.endpoint))
    )
    yield client
    await client.transport.close()
