"""The rules about loading job files."""

from horae.findings import ERROR, WARNING, Rule

DUPLICATE_NAME = Rule(
    code="HR402",
    level=ERROR,
    says="two jobs have the same name",
    remedy="Rename one of them: runs, logs and settings go by the name, over all three tiers.",
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

MORE_AT_IMPORT = Rule(
    code="HR712",
    level=WARNING,
    says="importing a job file does more than declare a job",
    remedy="Do it in the job's function: every command and every process imports the file.",
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
