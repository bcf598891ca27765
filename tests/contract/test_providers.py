"""Properties that are derived from the `PROVIDER` values, and hold for every provider."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.queues.providers import choice, names, provider
from horae.settings import QueueSettings, Settings, StoreSettings
from tests.contract.brokers import KINDS

ROOT = Path(__file__).parents[2]
CLIENTS = ("redis", "nats", "aiokafka", "aio_pika", "google.cloud", "grpc", "oneiric", "httpx")


def test_the_contract_is_held_by_every_provider() -> None:
    assert tuple(sorted(KINDS)) == names()
    assert all(name in choice() for name in names())


@pytest.mark.parametrize("name", names())
def test_a_provider_says_what_it_is(name: str) -> None:
    found = provider(name)
    assert found.name == name, "its file has its name"
    assert found.title
    assert found.use_when
    assert found.capabilities.redelivers_for.total_seconds() > 0
    table = found.settings()
    missing = found.missing(Settings(), table)
    assert missing.startswith("queue."), "with no settings at all, it names one of [queue]"


def test_cloud_tasks_alone_gets_messages_before_they_are_due() -> None:
    ahead = {name: provider(name).capabilities.schedules_ahead for name in names()}
    assert {name for name, span in ahead.items() if span} == {"cloudtasks"}
    assert all(provider(name).capabilities.native_schedules for name, span in ahead.items() if span)


@pytest.mark.parametrize("name", names())
def test_no_secret_of_a_provider_is_shown(name: str) -> None:
    secret = [
        key for key, field in provider(name).settings.model_fields.items() if "SecretStr" in str(field.annotation)
    ]
    table = provider(name).settings.model_construct(**dict.fromkeys(secret, SecretStr("s3cret")))
    assert "s3cret" not in repr(table)
    queue = QueueSettings.model_validate({"elsewhere": {"password": "s3cret"}})
    assert "s3cret" not in repr(Settings(queue=queue, store=StoreSettings()))


def test_providers_are_read_without_their_client_libraries() -> None:
    program = (
        "import sys\n"
        "from horae.queues.providers import names, provider\n"
        "assert [provider(name).name for name in names()]\n"
        f"found = [name for name in {CLIENTS!r} if name in sys.modules]\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
