"""Fixtures that every kind of test shares: real servers, a project folder, and what to do when a server is absent."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import SecretStr

from horae.jobs.policies import Tier
from horae.local import valkey
from horae.local.ports import free_port
from horae.local.valkey import answers, command
from horae.settings import QueueSettings, Settings, StoreSettings
from tests.brokers.cloud_tasks import CloudTasksServer
from tests.brokers.kafka import KafkaServer
from tests.brokers.nats import NatsServer
from tests.brokers.rabbitmq import RabbitServer
from tests.requirements import REQUIREMENTS
from tests.shipped import ship
from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store-server",
        metavar="PROGRAM",
        help="the server program that every test starts instead of the embedded Valkey, such as redis-server",
    )


def pytest_configure(config: pytest.Config) -> None:
    wanted = config.getoption("--store-server")
    if wanted:
        program = shutil.which(wanted)
        if program is None:
            raise pytest.UsageError(f"--store-server {wanted}: there is no such program; scripts/servers redis gets it")
        # Before a test module imports it: every server of every test is this one.
        valkey.binary = lambda: Path(program)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        require(*mark.args)


def require(name: str, *, module: bool = False) -> None:
    """Go on if that requirement is there; otherwise skip, by name and with the way to get it, or in CI fail.

    `module`: called while a test file is imported, whose tests all need it.
    """
    requirement = REQUIREMENTS[name]
    if requirement.there():
        return
    reason = f"needs {name}. {requirement.how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=module)


OWN: dict[str, ModuleType] = {}
"""The modules of this repository's job folders, as the test files imported them."""


OWN_PATH: list[str] = []


def pytest_collection_finish() -> None:
    OWN.update(_job_modules(of=ROOT))
    OWN_PATH[:] = sys.path


@pytest.fixture(autouse=True)
def own_job_folders() -> None:
    """A test, or a fixture of its module, that loads another project changes what `infra` means in this process.

    Each test begins with what it meant when the test files were imported.
    """
    for name in _job_modules():
        del sys.modules[name]
    sys.modules.update(OWN)
    sys.path[:] = OWN_PATH


def _job_modules(of: Path | None = None) -> dict[str, ModuleType]:
    folders = [tier.folder for tier in Tier]
    found = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in folders}
    if of is None:
        return found
    places = {
        name: [getattr(one, "__file__", None) or "", *getattr(one, "__path__", ())] for name, one in found.items()
    }
    return {name: found[name] for name, at in places.items() if any(place.startswith(f"{of}/") for place in at)}


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Valkey for the session, append-only, shared: use a namespace of your own instead of FLUSHALL."""
    with _valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(scope="session")
def second_valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another one, for messages that the store's server does not carry."""
    with _valkey(tmp_path_factory.mktemp("second-valkey")) as url:
        yield url


@contextmanager
def _valkey(folder: Path) -> Iterator[str]:
    require("valkey")
    port = free_port()
    with (folder / "valkey.log").open("wb") as log:
        server = subprocess.Popen(command(folder, port), stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(port), f"Valkey on port {port}")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project with its own jobs alone, to be read and not changed."""
    return ship(tmp_path_factory.mktemp("shipped"), "flows", "infra", "internal", "horae.toml", "prefect.yaml")


@pytest.fixture
def program_settings(tmp_path: Path, valkey_url: str, namespace: str) -> Settings:
    """Of a program that uses the Valkey of the session as its store."""
    return Settings(project=tmp_path, namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))


CARRYING = ("carried by the store", "on a second server")


@pytest.fixture(params=CARRYING)
def carried_both_ways(request: pytest.FixtureRequest, valkey_url: str, namespace: str) -> Settings:
    """A store, whose server carries the messages of the provider `redis` too, or leaves them to another server."""
    store = StoreSettings(url=SecretStr(valkey_url))
    if request.param == CARRYING[0]:
        return Settings(namespace=namespace, store=store)
    queue = QueueSettings(redis_url=SecretStr(request.getfixturevalue("second_valkey_url")))
    return Settings(namespace=namespace, store=store, queue=queue)


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real NATS for the session, with JetStream, shared by namespaces."""
    require("nats")
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture(scope="session")
def cloud_tasks_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudTasksServer]:
    require("cloudtasks")
    server = CloudTasksServer(tmp_path_factory.mktemp("cloudtasks"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def cloud_tasks_server(cloud_tasks_of_session: CloudTasksServer) -> Iterator[CloudTasksServer]:
    """One emulator of Cloud Tasks for the session. After a test it would call the receiver of that test for ever."""
    yield cloud_tasks_of_session
    cloud_tasks_of_session.forget()


@pytest.fixture(scope="session")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real RabbitMQ for the session, shared by namespaces."""
    require("rabbitmq")
    server = RabbitServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server.url
    finally:
        server.end()


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Kafka for the session, shared by namespaces."""
    require("kafka")
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    try:
        server.start()
        yield server.bootstrap
    finally:
        server.kill()


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project folder: a horae.toml whose ports are free ones, and the job folders."""
    folder = tmp_path / "project"
    for name in ("flows", "infra", "internal"):
        (folder / name).mkdir(parents=True)
    tables = {"store": "port", "prefect": "port", "worker": "health_port", "sidecar": "health_port"}
    (folder / "horae.toml").write_text("".join(f"[{table}]\n{key} = 0\n" for table, key in tables.items()))
    return folder
