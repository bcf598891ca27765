"""Generates the reference page of the command line from the commands. `python -m horae.cli.reference` prints it."""

from collections.abc import Iterator
from typing import Any

import typer

from horae.cli.app import command_line

HEAD = """# Command line

| exit status | means |
|---|---|
| 0 | fine |
| 1 | the answer is no: a check failed, a job did not run, no store answers |
| 2 | wrong use: nothing was done |
| 130 | interrupted. `up` without `--once`, `sidecar`, `worker` and `fires --follow`, which Ctrl-C ends, exit with 0 |
| 141 | what reads the output has closed it |

`--project FOLDER` and `--prefect-file FILE` may stand before or after the command. Errors are a sentence on stderr.
What `--json` prints is in [json.md](json.md). Colours are left out where stdout is no terminal, and where `NO_COLOR`
is set.

This page is written by `python -m horae.cli.reference`; a test holds it against the commands.
"""


def page() -> str:
    """The reference page, in Markdown."""
    root = command_line()
    with typer.Context(root, info_name="horae") as context:
        return HEAD + "".join(_section(command, name) for name, command in leaves(root, context))


def leaves(group: Any, context: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, such as `dead list`. Groups are left out."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from leaves(command, context, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _section(command: Any, name: str) -> str:
    said, _, examples = str(command.help).partition("\b")
    shown = [param for param in command.params if param.name != "project" and not getattr(param, "hidden", False)]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option"]
    usage = " ".join(["horae", name, *(param.metavar for param in arguments), *(["[OPTIONS]"] if options else [])])
    example = "\n".join(line.strip() for line in examples.strip().splitlines())
    parts = [f"\n## horae {name}\n\n{said.strip()}\n\n```console\n{usage}\n```\n"]
    if shown:
        parts.append("\n| | |\n|---|---|\n")
        parts += [f"| `{param.metavar}` | {_cell(param.help)} |\n" for param in arguments]
        parts += [f"| `{_spelling(option)}` | {_cell(option.help)}{_default(option)} |\n" for option in options]
    return "".join(parts) + f"\n```console\n{example}\n```\n"


def _spelling(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or _choices(option)}"
    return ", ".join(sorted(option.opts, key=len)) + value


def _choices(option: Any) -> str:
    choices = getattr(option.type, "choices", None)
    return "/".join(str(getattr(choice, "value", choice)) for choice in choices) if choices else "NUMBER"


def _default(option: Any) -> str:
    return f" Default: {option.default}." if isinstance(option.default, int) and not option.is_flag else ""


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
