"""The questions of the matrix, asked on a terminal one step after the other until the answer is known."""

import shlex

import typer

from horae.cli.options import schedule_of
from horae.errors import HoraeError, InvalidSchedule
from horae.jobs.policies import Trait
from horae.matrix import STEPS, Frequency, Step, frequency
from horae.schedules.kinds import Schedule


def ask() -> tuple[frozenset[Trait], Schedule | None]:
    """The traits and the schedule that lead to the end of the path; raises Abort on Ctrl-C or Ctrl-D."""
    traits: frozenset[Trait] = frozenset()
    schedule: Schedule | None = None
    often = ""
    for step in STEPS:
        typer.echo(f"\nStep {step.number}: {step.question}")
        if step.yes_frequencies:
            often, schedule = _schedule()
            if frequency(schedule) is not Frequency.LOW:
                break
        elif given := _traits(step):
            traits |= given
            break
    typer.echo(f"\nThe same as one command: {spelled(traits, often)}\n")
    return traits, schedule


def _traits(step: Step) -> frozenset[Trait]:
    offered = [trait for trait in Trait if trait in step.yes_traits]
    for number, trait in enumerate(offered, start=1):
        typer.echo(f"  {number}  {trait.sentence}")
    while True:
        text = typer.prompt(
            "Which of these are true? Give numbers, or press Enter for none", default="", show_default=False
        )
        words = str(text).replace(",", " ").split()
        if all(word.isdecimal() and 1 <= int(word) <= len(offered) for word in words):
            return frozenset(offered[int(word) - 1] for word in words)
        typer.echo(f"Give numbers from 1 to {len(offered)}, such as `1 3`, or press Enter for none.")


def _schedule() -> tuple[str, Schedule | None]:
    typer.echo("  Give a duration such as 30s, 5m or 90d, or five cron fields such as 0 2 * * *")
    while True:
        text = str(
            typer.prompt("How often does it run? Press Enter if it has no schedule", default="", show_default=False)
        ).strip()
        try:
            return text, read_schedule(text)
        except HoraeError as error:
            typer.echo(error.message)


def read_schedule(text: str) -> Schedule | None:
    """A duration, cron fields or nothing; raises InvalidSchedule."""
    if not text:
        return None
    if _is_cron(text):
        return schedule_of(text, None, None, None)
    if text[0].isdigit():
        return schedule_of(None, None, text, None)
    raise InvalidSchedule(f"{text!r} is neither a duration such as 30s nor five cron fields such as 0 2 * * *")


def _is_cron(text: str) -> bool:
    return " " in text or text.startswith("@")


def spelled(traits: frozenset[Trait], often: str) -> str:
    """The command line that says the same as those answers."""
    words = [word for trait in Trait if trait in traits for word in ("--trait", trait.value)]
    if often:
        words += ["--cron" if _is_cron(often) else "--every", often]
    return shlex.join(["horae", "decide", *words])
