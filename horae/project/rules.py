"""The rules about loading job files."""

from horae.findings import ERROR, WARNING, Rule

DUPLICATE_NAME = Rule(
    code="HR402",
    level=ERROR,
    says="two jobs have the same name",
    remedy="Rename one of them. Runs, logs and settings use the name, in all three tiers.",
)

BROKEN_FILE = Rule(
    code="HR701",
    level=ERROR,
    says="a job file cannot be imported",
    remedy="Correct the file. Horae loads the jobs of all other files.",
)

INVALID_JOB = Rule(
    code="HR702",
    level=ERROR,
    says="a declaration of a job is invalid",
    remedy="Correct the declaration. Horae loads the jobs of all other files.",
)

NO_JOB = Rule(
    code="HR703",
    level=WARNING,
    says="a job file declares no job, or more than one",
    remedy="Declare one job in a file, with `@job(...)`. Let the name of a helper file begin with `_`.",
)

UNKNOWN_JOB_TABLE = Rule(
    code="HR704",
    level=ERROR,
    says="horae.toml has settings for a job that does not exist or has no settings",
    remedy="Correct or remove the `[jobs.<name>]` table.",
)

INVALID_JOB_SETTINGS = Rule(
    code="HR705",
    level=ERROR,
    says="the settings of a job do not match its settings model",
    remedy="Correct the `[jobs.<name>]` table, or the `HORAE_JOBS__...` variable.",
)

MORE_AT_IMPORT = Rule(
    code="HR712",
    level=WARNING,
    says="the import of a job file does more than declare a job",
    remedy="Do it in the job's function. Every command and every process imports the file.",
)

LOADING_RULES = (
    DUPLICATE_NAME,
    BROKEN_FILE,
    INVALID_JOB,
    NO_JOB,
    UNKNOWN_JOB_TABLE,
    INVALID_JOB_SETTINGS,
    MORE_AT_IMPORT,
)
