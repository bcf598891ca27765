"""The rules about a whole project: its folders, its settings and its jobs together."""

from horae.findings import ERROR, HINT, WARNING, Rule
from horae.queues.providers import choice

WRONG_FOLDER = Rule(
    code="HR401",
    level=ERROR,
    says="the folder a job lives in and the decision matrix disagree",
    remedy="Move the file, or declare the traits that are missing or not meant.",
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
    remedy=f"Use {choice()}.",
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
    level=HINT,
    says="a durable job that is not declared idempotent may run for longer than a worker waits when it is stopped",
    remedy="Raise `grace_seconds` in `[worker]` and in your orchestrator, give it a time_limit below that, or say "
    "idempotent=True: every deploy stops workers, and what is handed back begins again.",
)
IGNORED_CODE = Rule(
    code="HR719",
    level=ERROR,
    says="`ignore` in `[check]` of horae.toml names no warning",
    remedy="Name codes of warnings, such as HR506. An error has to be corrected.",
)

PROVIDER_TABLE = Rule(
    code="HR711",
    level=ERROR,
    says="a table `[queue.NAME]` is not what its provider reads, or no provider reads it",
    remedy="Correct it: docs/reference/providers.md lists what each provider reads. No process starts until then.",
)

DROPPED_PROVIDER = Rule(
    code="HR713",
    level=ERROR,
    says="runs wait for a provider that is not configured; asked of the store, where one is configured and answers",
    remedy="Give its settings again until its runs have ended, or move what it has not got yet: "
    "`horae move --all --to PROVIDER`.",
)
MOVED = Rule(
    code="HR714",
    level=HINT,
    says="a move record in the store sends the runs of a job to another provider than the code says",
    remedy="Say so in the code: `provider=` of the job, or `provider` in `[queue]`. Then the record ends by itself.",
)

PROJECT_RULES = (
    WRONG_FOLDER,
    IGNORED_CODE,
    SLOW_IMPORT,
    UNKNOWN_PROVIDER,
    SHORT_RETENTION,
    OUTGROWN,
    OUTLASTS_GRACE,
    PROVIDER_TABLE,
    DROPPED_PROVIDER,
    MOVED,
)
