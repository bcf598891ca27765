"""The commands of `horae`. Each command is in its own module, which is imported when the command is called."""

import functools
import gc
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from horae.errors import UnknownName
from horae.terminal import escaping

COMMANDS = (
    "up",
    "jobs",
    "decide",
    "explain",
    "next",
    "check",
    "run",
    "enqueue",
    "fires",
    "show",
    "logs",
    "cancel",
    "pause",
    "resume",
    "move",
    "dead",
    "restore",
    "store",
    "sidecar",
    "worker",
    "receiver",
    "health",
    "completion",
)
"""In the order of `horae --help`. The module of a command has the command's name and a function `command`. A group has
its own `COMMANDS`, in modules of its package.
"""
RAW = frozenset({"up", "run", "sidecar", "worker", "receiver"})
"""These commands draw on the terminal, run jobs or log. They escape the text of jobs themselves."""
QUICK = frozenset({"jobs", "decide", "explain", "next", "check", "fires", "show", "logs"})
"""These commands answer and end. They run no job and start nothing that needs a plugin of pydantic."""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _remember_project(context: typer.Context, value: Path | None) -> Path | None:
    if value is not None:
        context.find_root().obj = value
    return value


Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="The project's folder. Default: the nearest one with a horae.toml.",
        metavar="FOLDER",
        callback=_remember_project,
        expose_value=False,
    ),
]


def _remember_files(value: list[Path] | None) -> list[Path] | None:
    """Set the setting's variable, so that processes that the command starts read the same files."""
    if value:
        os.environ["HORAE_PREFECT__FILES"] = os.pathsep.join(str(path.absolute()) for path in value)
    return value


PrefectFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--prefect-file",
        help="A file of deployments that replaces the project's prefect.yaml. May be repeated.",
        metavar="FILE",
        callback=_remember_files,
        expose_value=False,
    ),
]


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"horae {version('horae')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True, expose_value=False),
]


class Commands(TyperGroup):
    """Loads a command when it is called. Also accepts `--project` and `--prefect-file` after the command."""

    package = "horae.cli"
    names: tuple[str, ...] = COMMANDS

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.names)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Raises UnknownName."""
        if cmd_name not in self.names:
            raise UnknownName("command", cmd_name, self.names)
        if cmd_name in QUICK and self.names is COMMANDS:
            # Disable pydantic's plugins: the search for them takes a tenth of the time that `jobs` may take.
            os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
        else:
            gc.enable()
        module = importlib.import_module(f"{self.package}.{cmd_name}")
        command = typer.main.get_command(_group(module) if hasattr(module, "COMMANDS") else _single(module, cmd_name))
        command.params += [param for param in self.params if param.name in {"project", "prefect_files"}]
        return command


def _single(module: ModuleType, name: str) -> typer.Typer:
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command(name, context_settings=CONTEXT)(module.command if name in RAW else _escaped(module.command))
    return single


def _escaped(command: Callable[..., Any]) -> Callable[..., Any]:
    """Run the command with an output that contains no control characters except Horae's own."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with escaping():
            return command(*args, **kwargs)

    return run


def _group(module: ModuleType) -> typer.Typer:
    members = type("Members", (Commands,), {"package": module.__name__, "names": module.COMMANDS})
    name = module.__name__.rpartition(".")[2]
    group = typer.Typer(name=name, cls=members, add_completion=False, rich_markup_mode="rich", context_settings=CONTEXT)
    group.callback(invoke_without_command=True)(module.command)
    return group


def _horae(
    context: typer.Context, project: Project = None, prefect_files: PrefectFiles = None, version: Version = False
) -> int:
    """Run every recurring job on the right one of three schedulers, and report the result of each run.

    \b
    horae up                   start everything on this machine
    horae jobs                 all jobs, their next fire and last verdict
    horae decide --every 30s   which scheduler is right for such a job
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    return 0


def command_line() -> Any:
    """The whole command line as one Typer command."""
    app = typer.Typer(
        name="horae", cls=Commands, add_completion=False, rich_markup_mode="rich", context_settings=CONTEXT
    )
    app.callback(invoke_without_command=True)(_horae)
    return typer.main.get_command(app)
