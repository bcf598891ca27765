"""Which provider Oneiric's resolver chooses for what a job needs."""

import pytest
from pydantic import SecretStr

from horae.jobs.job import Job
from horae.jobs.policies import Need, Tier
from horae.queues.configured import configured
from horae.queues.opened import provider_of, router_of
from horae.queues.routing import Router
from horae.settings import QueueSettings, Settings, StoreSettings

ORDERED = frozenset({Need.ORDERING})
KAFKA: dict[str, object] = {"provider": "kafka", "kafka": {"bootstrap_servers": "127.0.0.1:1"}}
NATS: dict[str, object] = {"nats": {"url": "nats://127.0.0.1:1"}}


def settings_with(queue: dict[str, object]) -> Settings:
    url = SecretStr("redis://127.0.0.1:1/0")
    return Settings(store=StoreSettings(url=url), queue=QueueSettings.model_validate(queue))


def job(**fields: object) -> Job:
    return Job(name="backup", tier=Tier.ONEIRIC, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("needs", [frozenset(), frozenset({Need.DELAY}), frozenset({Need.PRIORITY, Need.SIZE})])
def test_the_default_carries_what_it_offers(needs: frozenset[Need]) -> None:
    assert router_of(settings_with(KAFKA | NATS)).choose(needs) == "kafka"


def test_what_the_default_lacks_goes_to_one_that_offers_it() -> None:
    router = router_of(settings_with(KAFKA))
    assert router.choose(ORDERED) == "redis"
    assert router.choose() == "kafka"
    assert router.of(job(needs=ORDERED)) == "redis"
    assert router.of(job(needs=ORDERED, provider="kafka")) == "kafka", "the job's own word comes before the routing"


def test_the_size_counts_up_to_the_limit_of_the_settings() -> None:
    def chosen(limit: int) -> str:
        table = {"project": "p", "location": "l", "receiver_url": "http://r", "service_account": "a@b"}
        queue = {"provider": "cloudtasks", "cloudtasks": table, "message_limit_bytes": limit}
        return router_of(settings_with(queue)).choose(frozenset({Need.SIZE}))

    assert (chosen(1_000_000), chosen(1_000_001)) == ("cloudtasks", "redis")


def test_the_ranking_has_those_that_offer_all() -> None:
    ranking = router_of(settings_with(KAFKA | NATS)).explain(ORDERED)["ordered"]
    assert {str(one["provider"]) for one in ranking} == {"redis", "nats"}
    assert any("capability_match=1/1" in str(one["reasons"]) for one in ranking)


def test_without_one_that_offers_it_the_default_carries_it() -> None:
    """An error would stop the dispatcher, and with it all other jobs. The check says it."""
    settings = settings_with(KAFKA)
    router = Router(settings, [one for one in configured(settings) if one.name == "kafka"])
    assert router.choose(ORDERED) == "kafka"
    assert router.lacking("kafka", ORDERED) == "ordering"


def test_without_a_store_the_answer_is_that_of_horae_up() -> None:
    settings = Settings(queue=QueueSettings.model_validate(KAFKA))
    assert provider_of(settings, job(needs=ORDERED)) == "redis"
    assert provider_of(settings, job()) == "kafka"


def test_unusable_settings_leave_the_default() -> None:
    settings = Settings(queue=QueueSettings.model_validate({"provider": "kafka"}))
    assert provider_of(settings, job(needs=ORDERED)) == "kafka"
