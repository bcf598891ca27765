"""The pages that lead from nothing to a running job on a broker, followed: their commands and their settings, with the
addresses of real servers instead of the examples.

Not followed: the commands of Google's and of Kafka's own tools, because there is no Google here, and Kafka's jars for
tests have no tools.
"""

import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from horae.local.ports import LOOPBACK, free_port
from tests.brokers.cloud_tasks import CloudTasksServer
from tests.brokers.kafka import KafkaServer
from tests.brokers.nats import NatsServer, binary
from tests.brokers.rabbitmq import RabbitServer
from tests.processes import services
from tests.servers import OwnValkey
from tests.waiting import wait_for

PAGES = Path(__file__).parents[2] / "docs/how-to"
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
JOB = 'from horae import job\n\n\n@job(traits={"infrastructure"})\ndef greet() -> str:\n    return "hello"\n'


def blocks(page: str, language: str) -> list[str]:
    """In order, without the indentation of the list that they stand in."""
    found = BLOCK.findall((PAGES / page).read_text())
    return [textwrap.dedent(body) for _, written, body in found if written == language]


def put(text: str, instead: dict[str, str]) -> str:
    """The text with these examples replaced. Each must be there."""
    for example, real in instead.items():
        assert example in text, f"the page no longer says {example}"
        text = text.replace(example, real)
    return text


@dataclass(frozen=True, kw_only=True)
class Followed:
    instead: dict[str, str]
    """In the page's settings: real values instead of the examples."""
    more: str = ""
    """Settings that only a test needs."""
    worker: str = "queue_worker"
    environment: dict[str, str] = field(default_factory=dict)


@contextmanager
def nats(folder: Path) -> Iterator[Followed]:
    server = NatsServer(folder)
    [command, *_] = blocks("use-nats.md", "sh")
    name, *options = shlex.split(put(command, {"/var/lib/nats": str(folder / "data")}))
    assert name == "nats-server"
    server.process.start([str(binary()), *options, "-a", LOOPBACK, "-p", str(server.port)], server.answers)
    try:
        yield Followed(instead={"nats://127.0.0.1:4222": server.url})
    finally:
        server.kill()


@contextmanager
def rabbitmq(folder: Path) -> Iterator[Followed]:
    server = RabbitServer(folder)
    server.start()
    try:
        [commands, *_] = blocks("use-rabbitmq.md", "sh")
        for line in put(commands, {"PASSWORD": "s3cret"}).splitlines():
            name, *arguments = shlex.split(line)
            assert name == "rabbitmqctl"
            server.control(*arguments)
        (folder / "password").write_text("s3cret\n")
        address = f"amqp://{LOOPBACK}:{server.port}"
        yield Followed(
            instead={"amqp://rabbit.internal:5672": address, "/run/secrets/rabbitmq": str(folder / "password")}
        )
    finally:
        server.end()


@contextmanager
def kafka(folder: Path) -> Iterator[Followed]:
    server = KafkaServer(folder)
    server.start()
    try:
        yield Followed(instead={"kafka-1:9092,kafka-2:9092": server.bootstrap})
    finally:
        server.kill()


@contextmanager
def cloud_tasks(folder: Path) -> Iterator[Followed]:
    server, port = CloudTasksServer(folder), free_port()
    server.start()
    [command] = [
        line for body in blocks("use-cloud-tasks.md", "sh") for line in body.splitlines() if "receiver" in line
    ]
    *assigned, name, what = shlex.split(command)
    assert (name, what) == ("horae", "receiver")
    google = {"endpoint": server.address, "issuer": server.issuer, "keys_url": f"{server.issuer}/jwks"}
    try:
        yield Followed(
            instead={"https://horae.example.com": f"http://{LOOPBACK}:{port}"},
            more="".join(f'{key} = "{value}"\n' for key, value in google.items()),
            worker="receiver",
            environment={"HORAE_QUEUE__CLOUDTASKS__LISTEN_PORT": str(port), **dict(one.split("=") for one in assigned)},
        )
    finally:
        server.kill()


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Followed]]] = {
    "nats": nats,
    "rabbitmq": rabbitmq,
    "kafka": kafka,
    "cloudtasks": cloud_tasks,
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.requires(name)) for name in SERVERS])
@pytest.mark.requires("valkey")
def test_a_page_leads_from_nothing_to_a_running_job(name: str, tmp_path: Path) -> None:
    page = "use-cloud-tasks.md" if name == "cloudtasks" else f"use-{name}.md"
    for folder in ("server", "store", "project/infra"):
        (tmp_path / folder).mkdir(parents=True)
    project, store = tmp_path / "project", OwnValkey(tmp_path / "store")
    (project / "infra/greet.py").write_text(JOB)
    store.start()
    try:
        with SERVERS[name](tmp_path / "server") as followed:
            settings = put(blocks(page, "toml")[0], followed.instead)
            (project / "horae.toml").write_text(settings + followed.more)
            with services(project, store.url, "horae", **followed.environment) as running:

                def horae(*arguments: str) -> Any:
                    command = [sys.executable, "-m", "horae", *arguments, "--json"]
                    done = subprocess.run(command, cwd=project, env=running.environment, capture_output=True, text=True)
                    assert done.returncode == 0, done.stderr
                    return json.loads(done.stdout)

                running.start("sidecar")
                running.start(followed.worker)
                assert [one["provider"] for one in horae("explain", "greet")["providers"] if one["chosen"]] == [name]
                run = horae("enqueue", "greet")["run_id"]
                wait_for(lambda: horae("show", run)["verdict"] == "ran", "the verdict", 60)
                assert horae("show", run)["provider"] == name
    finally:
        store.kill()
