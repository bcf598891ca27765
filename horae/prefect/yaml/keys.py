"""The keys that Prefect knows in prefect.yaml. It ignores all others without a message.

A test compares them with the models of the installed Prefect.
"""

from horae.prefect.yaml import models

TOP = models.keys_of(models.File) | {"definitions"}
"""`definitions` is where Prefect's documentation keeps YAML anchors."""
DEPLOYMENT = models.keys_of(models.Deployment)
WORK_POOL = models.keys_of(models.WorkPool)
CONCURRENCY_LIMIT = models.keys_of(models.ConcurrencyLimit)
COLLISION_STRATEGIES = frozenset(models.CollisionStrategy)
SCHEDULE = models.keys_of(models.Schedule)
SLA = frozenset[str]().union(*map(models.keys_of, models.SLAS))
TRIGGER = frozenset(
    {
        "name",
        "description",
        "enabled",
        "parameters",
        "job_variables",
        "schedule_after",
        "type",
        "match",
        "match_related",
        "after",
        "expect",
        "for_each",
        "posture",
        "threshold",
        "within",
        "metric",
        "triggers",
        "require",
    }
)
