"""The metrics collection on a real Valkey, and on the /metrics of a real sidecar."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from pydantic import SecretStr

from horae import Settings, Verdict
from horae.local.ports import free_port
from horae.queues.opened import open_queues
from horae.settings import StoreSettings
from horae.store import connect
from internal._metrics.measurements import ledger, measure, process, queues
from internal._metrics.settings import MetricsSettings
from tests.contract.brokers import messages
from tests.contract.stores import died, new, run_through
from tests.processes import ROOT, Services, services
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
OWN = MetricsSettings()


@pytest.fixture
def settings(project: Path, valkey_url: str, namespace: str) -> Settings:
    return Settings(project=project, namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))


async def test_the_depth_and_age_of_a_queue(settings: Settings) -> None:
    [empty] = await queues(settings, OWN)
    assert (empty.name, empty.ok, empty.detail) == ("queue redis", True, "empty")
    assert empty.figures == {"messages": 0, "oldest_seconds": 0}
    router = open_queues(settings).router
    await router.publish("redis", messages(3))
    await router.close()

    async def aged() -> bool:
        [found] = await queues(settings, OWN)
        return found.figures["messages"] == 3 and found.figures["oldest_seconds"] > 0

    await wait_until(aged, "the messages to age")


async def test_the_ledger_is_counted(settings: Settings) -> None:
    async with connect(settings) as store:
        await run_through(store, new(), Verdict.RAN)
        await died(store, new())
        await store.outbox.accept([new(provider="elsewhere")])
    [found] = await ledger(settings, OWN)
    figures = dict(found.figures)
    assert figures.pop("outbox_overdue_seconds") >= 0
    assert figures == {
        "failed_runs": 1,
        "ran_runs": 1,
        "outbox_entries": 1,
        "waiting_runs": 0,
        "running_runs": 0,
        "dead_letters": 1,
    }


async def test_wrong_credentials_are_named_and_leave_no_figure(settings: Settings, valkey_url: str) -> None:
    refused = StoreSettings(url=SecretStr(valkey_url.replace("redis://", "redis://nobody:s3cret@")))
    found = await measure(
        settings.model_copy(update={"store": refused}), OWN, {"queue": queues, "ledger": ledger, "process": process}
    )
    queue, counts, here = found
    assert (queue.ok, counts.ok, here.ok) == (False, False, True)
    assert (dict(queue.figures), dict(counts.figures)) == ({}, {})
    assert "refuses these credentials" in queue.detail
    assert "s3cret" not in queue.detail + counts.detail


@pytest.fixture
def running_services(project: Path, valkey_url: str, namespace: str) -> Iterator[Services]:
    for name in ("metrics_collection.py", "_metrics"):
        (project / "internal" / name).symlink_to(ROOT / "internal" / name)
    job = project / "internal" / "metrics_collection.py"
    text = job.read_text()
    job.unlink()
    job.write_text(text.replace('every("1m")', 'every("1s")'))  # a test does not wait for a minute
    with services(project, valkey_url, namespace) as found:
        yield found


async def test_a_sidecar_shows_the_figures_to_prometheus(running_services: Services) -> None:
    port = free_port()
    running_services.start("sidecar", HORAE_SIDECAR__HEALTH_PORT=str(port))

    def shown() -> dict[str, float]:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
        found = re.findall(r'horae_health_figure\{check="metrics/([\w ]+)",figure="(\w+)"\} (\S+)', page)
        return {f"{check} {figure}": float(value) for check, figure, value in found}

    figures = await wait_until(lambda: shown() or None, "the figures on /metrics", 20)
    assert figures
    assert figures["process resident_bytes"] > 1 << 20
    assert {"host memory_available_bytes", "queue redis messages", "ledger dead_letters", "disk free_bytes"} <= {
        *figures
    }
