"""The rules about prefect.yaml and the flows that it deploys."""

from horae.findings import ERROR, WARNING, Rule

YAML_UNREADABLE = Rule(
    code="HR501",
    level=ERROR,
    says="prefect.yaml, or a value in it, does not have the shape that Prefect reads",
    remedy="Correct the value. `prefect deploy` skips the whole file for it, or deploys something else, and exits 0.",
)

YAML_UNKNOWN_KEY = Rule(
    code="HR502",
    level=ERROR,
    says="prefect.yaml has a key that looks like a slip of one that Prefect knows",
    remedy="Correct or remove the key: `prefect deploy` ignores it without a word.",
)

FLOW_PARAMETERS = Rule(
    code="HR503",
    level=ERROR,
    says="parameters of a deployment are not those of its flow",
    remedy="Give the parameters that the flow's function has, with a value for each that has no default.",
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
    says="a schedule has no slug of its own",
    remedy="Give each schedule a `slug`, unique in its deployment: without, a deploy replaces the whole list of them.",
)

DUPLICATE_DEPLOYMENT = Rule(
    code="HR507",
    level=ERROR,
    says="two deployments of one flow have the same name",
    remedy="Rename one of them: the later one is deployed over the other.",
)

WORK_POOL = Rule(
    code="HR508",
    level=WARNING,
    says="a deployment names no work pool",
    remedy="Write `work_pool: {name: horae}`. `horae up` deploys it to the pool of its own worker; `prefect deploy` by "
    "itself refuses it, unless PREFECT_DEFAULT_WORK_POOL_NAME is set.",
)

FLOW_TAG = Rule(
    code="HR509",
    level=ERROR,
    says="a `horae:` tag is neither a trait nor an option",
    remedy="Use `horae:` and the name of a trait, `horae:run_on_start` or `horae:latest_only`.",
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
    remedy="Write `concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}`: after an outage Prefect starts all "
    "missed runs at once, and nothing else holds them back.",
)

TEMPLATE = Rule(
    code="HR512",
    level=WARNING,
    says="Prefect fills in a template when it deploys, so nobody can tell what it will be",
    remedy="Write the value itself if Horae is to follow the flow and to check it.",
)

UNFOLLOWED_SCHEDULE = Rule(
    code="HR513",
    level=WARNING,
    says="Prefect fires a schedule that Horae cannot follow: its next fire is not shown, and the matrix leaves it out",
    remedy="Write a cron of five fields, several of them, or an interval with a quoted `anchor_date`.",
)

YAML_IGNORED = Rule(
    code="HR514",
    level=WARNING,
    says="prefect.yaml has a key that Prefect ignores",
    remedy="Remove the key if it was meant to do something; under `definitions` anchors are at home.",
)

UNREAD_FLOW = Rule(
    code="HR515",
    level=WARNING,
    says="a flow cannot be read without running its file, so Horae does not know all of it",
    remedy='Write `@flow(name="...")` with literals over a function in the file that the entrypoint names.',
)

SHORT_NAME = Rule(
    code="HR516",
    level=WARNING,
    says="the short name of a flow job stands for several jobs",
    remedy="Use the address `flow/deployment` in commands, or rename one of the jobs.",
)

NO_DEPLOYMENT = Rule(
    code="HR517",
    level=WARNING,
    says="a file in the flows folder has a flow, and no deployment leads to it",
    remedy="Write a deployment with it as `entrypoint` into prefect.yaml; begin the name of a helper's file with `_`.",
)

LEFT_DEPLOYMENT = Rule(
    code="HR518",
    level=WARNING,
    says="Prefect has a deployment in the project's work pool that is in no file of the project",
    remedy="Delete it with `prefect deployment delete`: no deploy removes it, and it goes on firing.",
)

LEFT_SCHEDULE = Rule(
    code="HR519",
    level=WARNING,
    says="Prefect has a schedule of a deployment that its file no longer has, such as one whose slug was renamed",
    remedy="Delete it with `prefect deployment schedule delete`: it fires beside those of the file.",
)

DST_DIFFERENCE = Rule(
    code="HR601",
    level=WARNING,
    says="Prefect's cron engine fires a flow differently than the schedule says, on some days of the coming year",
    remedy="Move the hour out of the change of clocks, or use `timezone: UTC`.",
)

FLOATING_INTERVAL = Rule(
    code="HR602",
    level=WARNING,
    says="Prefect counts an interval from another instant than the schedule says",
    remedy='Give a quoted `anchor_date: "2026-01-01T00:00:00Z"` (without, Prefect counts from the moment of each '
    "deploy), and for a day or more a cron, or no `timezone` but UTC.",
)

NO_ENGINE = Rule(
    code="HR603",
    level=WARNING,
    says="the crons of flows cannot be compared with what Prefect makes of them, because Prefect is not installed here",
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
    DST_DIFFERENCE,
    FLOATING_INTERVAL,
    NO_ENGINE,
)
