"""Generates the reference page of the checks from the rules. `python -m horae.checks.reference` prints it."""

from dataclasses import replace

from horae.checks.checklist import CHECKLIST
from horae.checks.job_rule import FOLDERS
from horae.checks.project_rules import PROJECT_RULES
from horae.findings import Rule
from horae.prefect.rules import FLOW_FILE_RULES
from horae.project.rules import LOADING_RULES

GROUPS = {
    "HR1": "Flows on Prefect",
    "HR2": "Durable jobs on the Oneiric-routed queue",
    "HR3": "Internal jobs on APScheduler",
    "HR4": "The matrix and the folders",
    "HR5": "prefect.yaml",
    "HR6": "Schedules as Prefect understands them",
    "HR7": "Job files and settings",
}
HEAD = """# Checks

What `horae check` looks for. Codes are stable. An **error** makes the check fail. A **warning** says what may go wrong,
and a **hint** what would make a sound job better; neither makes the check fail, and hints are only counted without
`--hints`. Rules on traits and schedule alone also speak in `horae decide`. A rule that is a line of the specification's
"Validation Checklist" or "Common Mistakes" names it.

This page is written by `python -m horae.checks.reference`; a test holds it against the rules.
"""


def all_rules() -> tuple[Rule, ...]:
    """All rules, ordered by code, with the default folder names."""
    checklist = (replace(row.rule, remedy=row.rule.remedy.format_map(FOLDERS)) for row in CHECKLIST)
    rules = (*PROJECT_RULES, *LOADING_RULES, *FLOW_FILE_RULES, *checklist)
    return tuple(sorted(rules, key=lambda rule: rule.code))


def page() -> str:
    """The reference page, in Markdown."""
    parts = [HEAD]
    for prefix, title in GROUPS.items():
        parts.append(
            f"\n## {prefix}xx: {title}\n\n| code | level | what is wrong | what to do | line |\n|---|---|---|---|---|\n"
        )
        for rule in all_rules():
            if rule.code.startswith(prefix):
                cells = (rule.code, rule.level.value, rule.says, rule.remedy, rule.line)
                parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
