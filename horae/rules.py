"""The rules that checks go by: a stable code, a level, a sentence and a remedy each.

Here are those about files and about the project as a whole; those about one job's declared data, with their
predicates, are in `horae.checklist`. `docs/reference/checks.md` is generated from both.
"""

from dataclasses import dataclass

from horae.findings import Finding, Level
from horae.jobs import Source

ERROR, WARNING = Level.ERROR, Level.WARNING


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    code: str
    level: Level
    says: str
    """What is wrong, in a clause that holds for every finding of the rule."""
    remedy: str
    line: str = ""
    """The line of the specification's checklist or common mistakes that this rule is."""

    def finding(self, message: str, *, job: str | None = None, at: Source | None = None, remedy: str = "") -> Finding:
        """This rule, tripped at one place."""
        file, line = (at.file or None, at.line) if at else (None, None)
        chosen = remedy or self.remedy
        return Finding(code=self.code, level=self.level, message=message, remedy=chosen, job=job, file=file, line=line)


WRONG_FOLDER = Rule(
    code="HR401",
    level=ERROR,
    says="the folder a job lives in and the decision matrix disagree",
    remedy="Move the file, or declare the traits that are missing or not meant.",
)
DUPLICATE_NAME = Rule(
    code="HR402",
    level=ERROR,
    says="two jobs have the same name",
    remedy="Rename one of them: runs, logs and settings go by the name, over all three tiers.",
)

YAML_UNREADABLE = Rule(
    code="HR501",
    level=ERROR,
    says="prefect.yaml, or a value in it, does not have the shape that Prefect reads",
    remedy="Correct the value. `prefect deploy` skips the whole file for it, or deploys something else, and exits 0.",
)
YAML_UNKNOWN_KEY = Rule(
    code="HR502",
    level=ERROR,
    says="prefect.yaml has a key that Prefect does not know",
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
    remedy="Write `entrypoint: flows/file.py:function`, with the function decorated by Prefect's `@flow`.",
)
FLOW_SCHEDULE = Rule(
    code="HR505",
    level=ERROR,
    says="a schedule in prefect.yaml cannot be read, or does not mean what it says",
    remedy='Write `cron: "0 2 * * *"` with `timezone: Europe/Berlin`, or `interval: 3600` with a quoted `anchor_date`.',
)
SCHEDULE_SLUG = Rule(
    code="HR506",
    level=ERROR,
    says="a schedule has no slug of its own",
    remedy="Give each schedule a `slug`, unique in its deployment: without, a deploy replaces the whole list of them.",
)
DUPLICATE_DEPLOYMENT = Rule(
    code="HR507",
    level=ERROR,
    says="two deployments have the same name",
    remedy="Rename one of them: the deployment's name is the job's name.",
)
WORK_POOL = Rule(
    code="HR508",
    level=ERROR,
    says="a deployment names no work pool",
    remedy="Write `work_pool: {name: horae}`: without one, no worker picks up its runs.",
)
FLOW_TAG = Rule(
    code="HR509",
    level=ERROR,
    says="a `horae:` tag is neither a trait nor an option",
    remedy="Use `horae:` and the name of a trait, or `horae:run_on_start`.",
)
DEPLOYMENT_NAME = Rule(
    code="HR510",
    level=ERROR,
    says="a deployment has no name that a job can have",
    remedy="Give it a literal kebab-case name, such as `code-sweep`: `prefect deploy` skips unnamed deployments.",
)
NO_BRAKE = Rule(
    code="HR511",
    level=WARNING,
    says="a scheduled deployment has no concurrency limit",
    remedy="Write `concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}`: after an outage Prefect starts all "
    "missed runs at once, and nothing else holds them back.",
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

BROKEN_FILE = Rule(
    code="HR701",
    level=ERROR,
    says="a job file cannot be imported",
    remedy="Correct the file; the jobs of all other files are loaded.",
)
INVALID_JOB = Rule(
    code="HR702",
    level=ERROR,
    says="a job is declared with something that a job cannot have",
    remedy="Correct the declaration; the jobs of all other files are loaded.",
)
NO_JOB = Rule(
    code="HR703",
    level=WARNING,
    says="a job file declares no job, or more than one",
    remedy="One job a file, under `@job(...)`; a helper's file name starts with `_`.",
)
UNKNOWN_JOB_TABLE = Rule(
    code="HR704",
    level=ERROR,
    says="horae.toml has settings for a job that is not there, or that takes none",
    remedy="Correct or remove the `[jobs.<name>]` table.",
)
INVALID_JOB_SETTINGS = Rule(
    code="HR705",
    level=ERROR,
    says="the settings of a job are not what its model accepts",
    remedy="Correct the `[jobs.<name>]` table, or the `HORAE_JOBS__...` variable.",
)
SLOW_IMPORT = Rule(
    code="HR706",
    level=WARNING,
    says="a job file takes more than 100 ms to import",
    remedy="Import what is heavy inside the job's function: every command and process loads every job file.",
)
UNKNOWN_PROVIDER = Rule(
    code="HR707",
    level=ERROR,
    says="`provider` in `[queue]` of horae.toml is no queue backend",
    remedy="Use redis, nats, kafka, rabbitmq or cloudtasks.",
)

SHORT_RETENTION = Rule(
    code="HR708",
    level=WARNING,
    says="settled runs leave the ledger while the broker may still hand their messages out again",
    remedy="Raise `keep_runs_days` or `keep_runs_per_job` in `[store]`: a message without a row that is older than the "
    "ledger reaches is buried as a dead letter, since nobody can say whether it ran.",
)
OUTGROWN = Rule(
    code="HR709",
    level=WARNING,
    says="one run in twenty of a job takes longer than the time between two of its fires; asked of the ledger, where a "
    "store is configured and answers at once",
    remedy="Fire it less often, make it faster, or choose what its `overlap` is to be.",
)
OUTLASTS_GRACE = Rule(
    code="HR710",
    level=WARNING,
    says="a durable job that is not declared idempotent may run for longer than a worker waits when it is stopped",
    remedy="Raise `grace_seconds` in `[worker]` and in your orchestrator, give it a time_limit below that, or say "
    "idempotent=True: every deploy stops workers, and what is handed back begins again.",
)

FILE_RULES: tuple[Rule, ...] = tuple(
    sorted((r for r in list(vars().values()) if isinstance(r, Rule)), key=lambda r: r.code)
)
