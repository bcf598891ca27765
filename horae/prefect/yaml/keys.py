"""The keys that Prefect 3.8.8 knows in prefect.yaml; all others it ignores without a word.

A test holds these against the models of the installed Prefect.
"""

ACTIONS = frozenset({"build", "push", "pull"})
TOP = ACTIONS | {"prefect-version", "prefect_version", "name", "deployments", "definitions"}
"""`definitions` is where Prefect's documentation keeps YAML anchors."""

DEPLOYMENT = ACTIONS | {
    "name",
    "version",
    "version_type",
    "tags",
    "description",
    "schedule",
    "schedules",
    "paused",
    "concurrency_limit",
    "flow_name",
    "entrypoint",
    "parameters",
    "enforce_parameter_schema",
    "work_pool",
    "triggers",
    "sla",
}
WORK_POOL = frozenset({"name", "work_queue_name", "job_variables"})
CONCURRENCY_LIMIT = frozenset({"limit", "collision_strategy", "grace_period_seconds"})
COLLISION_STRATEGIES = frozenset({"ENQUEUE", "CANCEL_NEW"})
SCHEDULE = frozenset(
    {
        "cron",
        "interval",
        "rrule",
        "timezone",
        "anchor_date",
        "active",
        "parameters",
        "slug",
        "replaces",
        "day_or",
    }
)
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
SLA = frozenset({"name", "severity", "enabled", "duration", "stale_after", "within"})

HOLDS = {
    "name": (str,),
    "version": (str,),
    "version_type": (str,),
    "tags": (str, list),
    "description": (str,),
    "schedules": (list,),
    "paused": (bool,),
    "concurrency_limit": (int, dict),
    "flow_name": (str,),
    "entrypoint": (str,),
    "parameters": (dict,),
    "enforce_parameter_schema": (bool,),
    "build": (list, dict),
    "push": (list, dict),
    "pull": (list, dict),
    "work_pool": (dict,),
    "triggers": (list,),
    "sla": (list,),
}
"""What each key of a deployment may hold besides null."""
