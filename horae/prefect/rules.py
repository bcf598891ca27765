"""The rules about prefect.yaml and the flows that it deploys."""

from horae.findings import ERROR, WARNING, Rule

YAML_UNREADABLE = Rule(
    code="HR501",
    level=ERROR,
    says="prefect.yaml, or a value in it, does not have the form that Prefect reads",
    remedy="Correct the value. Otherwise `prefect deploy` skips the whole file or deploys a wrong value, and exits "
    "with 0.",
)

YAML_UNKNOWN_KEY = Rule(
    code="HR502",
    level=ERROR,
    says="prefect.yaml has an unknown key that resembles a key of Prefect",
    remedy="Correct or remove the key: `prefect deploy` silently ignores it.",
)

FLOW_PARAMETERS = Rule(
    code="HR503",
    level=ERROR,
    says="parameters of a deployment do not match its flow",
    remedy="Give the parameters of the flow's function, with a value for each parameter that has no default.",
)

ENTRYPOINT = Rule(
    code="HR504",
    level=ERROR,
    says="the entrypoint of a deployment does not lead to a flow",
    remedy="Write `entrypoint: FOLDER/file.py:function`, with the function decorated by Prefect's `@flow`.",
)

FLOW_SCHEDULE = Rule(
    code="HR505",
    level=ERROR,
    says="Prefect refuses a schedule in prefect.yaml, or never fires it",
    remedy='Write `cron: "0 2 * * *"` with `timezone: Europe/Berlin`, or `interval: 3600` with a quoted `anchor_date`.',
)

SCHEDULE_SLUG = Rule(
    code="HR506",
    level=WARNING,
    says="a schedule has no slug, or a slug that another schedule of the deployment has",
    remedy="Give each schedule a `slug` that is unique in its deployment. Without slugs a deploy replaces the "
    "whole list of schedules.",
)

DUPLICATE_DEPLOYMENT = Rule(
    code="HR507",
    level=ERROR,
    says="two deployments of one flow have the same name",
    remedy="Rename one of them: the later deployment overwrites the other.",
)

WORK_POOL = Rule(
    code="HR508",
    level=WARNING,
    says="a deployment names no work pool",
    remedy="Write `work_pool: {name: horae}`. `horae up` deploys it to the pool of its own worker, but `prefect "
    "deploy` refuses it unless PREFECT_DEFAULT_WORK_POOL_NAME is set.",
)

FLOW_TAG = Rule(
    code="HR509",
    level=ERROR,
    says="a `horae:` tag is neither a trait nor an option",
    remedy="Write `horae:` and the name of a trait, `horae:run_on_start` or `horae:latest_only`.",
)

DEPLOYMENT_NAME = Rule(
    code="HR510",
    level=ERROR,
    says="a deployment has no name, or one that Prefect refuses",
    remedy="Give it a name without / % & < >: `prefect deploy` skips unnamed deployments.",
)

NO_BRAKE = Rule(
    code="HR511",
    level=WARNING,
    says="a scheduled deployment has no concurrency limit",
    remedy="Write `concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}`: without it, Prefect starts all "
    "missed runs at once after an outage.",
)

TEMPLATE = Rule(
    code="HR512",
    level=WARNING,
    says="a value is a template that Prefect fills in when it deploys, so Horae cannot know the value",
    remedy="Write the value itself, so that Horae can follow and check the flow.",
)

UNFOLLOWED_SCHEDULE = Rule(
    code="HR513",
    level=WARNING,
    says="Prefect fires a schedule that Horae cannot follow, so Horae does not show its next fire, and the matrix "
    "ignores it",
    remedy="Write a cron of five fields, several such crons, or an interval with a quoted `anchor_date`.",
)

YAML_IGNORED = Rule(
    code="HR514",
    level=WARNING,
    says="prefect.yaml has a key that Prefect ignores",
    remedy="Remove the key if Prefect should read it. If it is an anchor, move it under `definitions`.",
)

UNREAD_FLOW = Rule(
    code="HR515",
    level=WARNING,
    says="Horae cannot know all of a flow without running its file",
    remedy='Write `@flow(name="...")` with literals above a function in the file of the entrypoint.',
)

SHORT_NAME = Rule(
    code="HR516",
    level=WARNING,
    says="the short name of a flow job matches several jobs",
    remedy="Use the address `flow/deployment` in commands, or rename one of the jobs.",
)

NO_DEPLOYMENT = Rule(
    code="HR517",
    level=WARNING,
    says="a file in the flows folder has a flow, but no deployment leads to it",
    remedy="Write a deployment with this `entrypoint` into prefect.yaml. If it is a helper file, let its name "
    "begin with `_`.",
)

LEFT_DEPLOYMENT = Rule(
    code="HR518",
    level=WARNING,
    says="Prefect has a deployment in the project's work pool, but no file of the project has it",
    remedy="Delete it with `prefect deployment delete`: no deploy removes it, and it continues to fire.",
)

LEFT_SCHEDULE = Rule(
    code="HR519",
    level=WARNING,
    says="Prefect has a schedule of a deployment, but the deployment's file does not have it, for example after "
    "its slug was renamed",
    remedy="Delete it with `prefect deployment schedule delete`: it fires in addition to the schedules of the file.",
)

NOT_FOLLOWED = Rule(
    code="HR520",
    level=WARNING,
    says="a deployment runs in Prefect, but Horae cannot hold its name or a value of it, so no command shows it",
    remedy="Use a name of at most 500 printable characters, and values that a person would write.",
)

DST_DIFFERENCE = Rule(
    code="HR601",
    level=WARNING,
    says="on some days of the coming year, Prefect's cron engine fires a flow at other times than the schedule says",
    remedy="Choose an hour outside the clock change, or write `timezone: UTC`.",
)

FLOATING_INTERVAL = Rule(
    code="HR602",
    level=WARNING,
    says="Prefect counts an interval from another instant than the schedule says",
    remedy='Write a quoted `anchor_date: "2026-01-01T00:00:00Z"`; without it, Prefect counts from the moment of '
    "each deploy. For an interval of a day or more, write a cron, or only `timezone: UTC`.",
)

NO_ENGINE = Rule(
    code="HR603",
    level=WARNING,
    says="Horae cannot compare the crons of flows with Prefect's cron engine, because Prefect is not installed here",
    remedy="Install `horae[prefect]` where `horae check` runs.",
)

FLOW_FILE_RULES = (
    YAML_UNREADABLE,
    YAML_UNKNOWN_KEY,
    FLOW_PARAMETERS,
    ENTRYPOINT,
    FLOW_SCHEDULE,
    SCHEDULE_SLUG,
    DUPLICATE_DEPLOYMENT,
    WORK_POOL,
    FLOW_TAG,
    DEPLOYMENT_NAME,
    NO_BRAKE,
    TEMPLATE,
    UNFOLLOWED_SCHEDULE,
    YAML_IGNORED,
    UNREAD_FLOW,
    SHORT_NAME,
    NO_DEPLOYMENT,
    LEFT_DEPLOYMENT,
    LEFT_SCHEDULE,
    NOT_FOLLOWED,
    DST_DIFFERENCE,
    FLOATING_INTERVAL,
    NO_ENGINE,
)
