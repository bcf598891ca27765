"""A run whose job a worker does not know waits for a varying time, so that other workers get it too."""

from datetime import timedelta

import pytest
import redis
from pydantic import SecretStr

from horae.jobs.policies import Tier
from horae.runs import Cause, new_run_id
from horae.settings import Settings, StoreSettings
from horae.store import connect
from horae.store.values import NewRun, Wanted

SECOND = timedelta(seconds=1)


@pytest.mark.requires("valkey")
async def test_the_rests_of_a_run_that_nobody_knows_differ(valkey_url: str, namespace: str) -> None:
    settings = Settings(namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))
    rests = set()
    async with connect(settings) as store:
        with redis.Redis.from_url(valkey_url) as client:
            for _ in range(20):
                new = NewRun(
                    run_id=new_run_id(), job="stranger", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, provider="elsewhere"
                )
                await store.outbox.accept([new], SECOND)
                wanted = Wanted(message=new.message, policy=None)
                await store.claims.claim([wanted], "worker", 10 * SECOND)
                due = client.zscore(f"{{{namespace}}}:outbox", new.run_id)
                seconds, micros = client.time()
                rests.add(round((due - seconds * 1000 - micros / 1000) / 100))
    assert max(rests) <= 50
    assert min(rests) >= 35
    assert max(rests) - min(rests) >= 3
