"""The keys that Horae allows in prefect.yaml are those of the installed Prefect's own models."""

from prefect._experimental.sla import objects as sla
from prefect.cli.deploy import _models
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.events.schemas import deployment_triggers
from pydantic import BaseModel

from horae.prefect.yaml import keys


def fields(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields) | {f.alias for f in model.model_fields.values() if f.alias}


def test_keys_are_those_of_prefect() -> None:
    assert fields(_models.PrefectYamlModel) | {"definitions"} == keys.TOP
    assert fields(_models.DeploymentConfig) == keys.DEPLOYMENT
    assert fields(_models.WorkPoolConfig) == keys.WORK_POOL
    assert fields(_models.ConcurrencyLimitSpec) == keys.CONCURRENCY_LIMIT
    assert fields(_models.RawScheduleConfig) == keys.SCHEDULE
    assert {strategy.value for strategy in ConcurrencyLimitStrategy} == keys.COLLISION_STRATEGIES


def test_keys_of_triggers_and_slas_are_those_of_prefect() -> None:
    triggers = (
        deployment_triggers.DeploymentEventTrigger,
        deployment_triggers.DeploymentMetricTrigger,
        deployment_triggers.DeploymentCompoundTrigger,
        deployment_triggers.DeploymentSequenceTrigger,
    )
    assert set().union(*(fields(trigger) for trigger in triggers)) == keys.TRIGGER
    slas = (sla.TimeToCompletionSla, sla.FrequencySla, sla.LatenessSla)
    assert set().union(*(fields(model) for model in slas)) == keys.SLA
