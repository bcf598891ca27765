"""The rules about a whole project: its folders, its settings and its jobs together."""

from horae.findings import ERROR, HINT, WARNING, Rule
from horae.queues.providers import choice

WRONG_FOLDER = Rule(
    code="HR401",
    level=ERROR,
    says="the folder of a job and the decision matrix disagree",
    remedy="Move the file, or correct the declared traits.",
)


SLOW_IMPORT = Rule(
    code="HR706",
    level=WARNING,
    says="a job file takes more than 100 ms to import",
    remedy="Import heavy modules in the job's function: every command and every process loads every job file.",
)
UNKNOWN_PROVIDER = Rule(
    code="HR707",
    level=ERROR,
    says="`provider` in `[queue]` of horae.toml is not a known queue provider",
    remedy=f"Use {choice()}.",
)

SHORT_RETENTION = Rule(
    code="HR708",
    level=WARNING,
    says="the ledger deletes settled runs while the broker can still redeliver their messages",
    remedy="Raise `keep_runs_days` or `keep_runs_per_job` in `[store]`. A message without a row that is older than "
    "the ledger's retention becomes a dead letter, because nobody can say whether it ran.",
)
OUTGROWN = Rule(
    code="HR709",
    level=WARNING,
    says="one in twenty runs of a job takes longer than the time between two fires. The check reads the ledger if "
    "a store is configured and answers",
    remedy="Let it fire less often, make it faster, or choose its `overlap` policy.",
)
OUTLASTS_GRACE = Rule(
    code="HR710",
    level=HINT,
    says="a durable job without idempotent=True may run for longer than a stopped worker waits",
    remedy="Raise `grace_seconds` in `[worker]` and in your orchestrator, give the job a shorter time_limit, or "
    "write idempotent=True. Every deploy stops workers, and a run that a worker hands back begins again.",
)
IGNORED_CODE = Rule(
    code="HR719",
    level=ERROR,
    says="`ignore` in `[check]` of horae.toml has an entry that is not a warning",
    remedy="Give codes of warnings, such as HR506. Correct errors instead of ignoring them.",
)

PROVIDER_TABLE = Rule(
    code="HR711",
    level=ERROR,
    says="a table `[queue.NAME]` is invalid for its provider, or no provider has that name",
    remedy=(
        "Correct it: docs/reference/providers.md lists the settings of each provider. No process starts before that."
    ),
)

SIGNING_KEYS = Rule(
    code="HR726",
    level=ERROR,
    says="the file of the signing keys cannot be used",
    remedy="Write one or two keys into it, one a line; `openssl rand -hex 32` makes one. No process starts before "
    "that.",
)
SIGNING_ON_STORE = Rule(
    code="HR727",
    level=HINT,
    says="messages are signed, but the default provider is the store's own server",
    remedy="Do not rely on signatures there: who can write messages to the server can write to the store as well. Give "
    "the queue a server of its own with `queue.redis_url`, choose another provider, or turn this hint off with "
    "`ignore`.",
)
UNMET_NEEDS = Rule(
    code="HR728",
    level=ERROR,
    says="a durable job needs what its queue provider does not offer, or what no configured provider offers",
    remedy="Remove the need or `provider`, or configure a provider that offers it. `horae explain JOB` lists the "
    "providers with their reasons.",
)

DROPPED_PROVIDER = Rule(
    code="HR713",
    level=ERROR,
    says="runs wait for a provider that is not configured. The check reads the store if one is configured and answers",
    remedy="Give its settings until its runs have ended, or move the runs that it does not have yet: `horae move "
    "--all --to PROVIDER`.",
)
MOVED = Rule(
    code="HR714",
    level=HINT,
    says="a move record in the store sends the runs of a job to another provider than the code",
    remedy="Write the provider into the code: `provider=` of the job, or `provider` in `[queue]`. Then the record "
    "ends by itself.",
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
    SIGNING_KEYS,
    SIGNING_ON_STORE,
    UNMET_NEEDS,
    DROPPED_PROVIDER,
    MOVED,
)
