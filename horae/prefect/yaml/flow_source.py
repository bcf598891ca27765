"""What a flow's source says about it, read without importing it: importing would import Prefect."""

import ast
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from horae.errors import InvalidJob, unknown
from horae.jobs.policies import Tier

type Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowSource:
    file: str
    """Relative to the project."""
    line: int
    function: str
    name: str
    """As Prefect will name the flow."""
    description: str = ""
    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    """Parameters without a default."""
    takes_any: bool = False
    """It has **keywords."""
    retries: int = 0
    """The most that the flow, or a task in its file, declares; an expression counts as 1."""
    time_limit: timedelta | None = None
    """`timeout_seconds`, when it is a literal."""
    has_tasks: bool = True
    """Its file defines or imports something to orchestrate: a task, another flow, `.submit()` or `.map()`."""
    silent_print: int | None = None
    """The line of a `print` in the flow whose output does not reach Prefect, for want of `log_prints=True`."""


def read_flow(project: Path, entrypoint: str, folder: str = Tier.PREFECT.folder) -> FlowSource:
    """The flow that an entrypoint (`file.py:function` or `package.module:function`) leads to; raises InvalidJob.

    `folder`: where files of flows are expected.
    """
    path, function = _split(project, entrypoint, folder)
    shown = path.relative_to(project.resolve()).as_posix()
    try:
        tree = ast.parse(path.read_text(), shown)
    except (OSError, ValueError) as error:
        raise InvalidJob(f"{shown} cannot be read: {error}") from error
    except SyntaxError as error:
        raise InvalidJob(f"{shown} line {error.lineno}: {error.msg}") from error
    names = _prefect_names(tree)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if function not in functions:
        raise InvalidJob(f"{shown}: " + unknown("function", function, functions))
    decorator = _decorator(functions[function], "flow", names)
    if decorator is None:
        flows = [name for name, node in functions.items() if _decorator(node, "flow", names) is not None]
        hint = f"; flows there: {', '.join(flows)}" if flows else ""
        raise InvalidJob(f"{function!r} in {shown} is a plain function, not decorated by Prefect's @flow{hint}")
    return _describe(tree, functions, functions[function], decorator, names, shown)


def _split(project: Path, entrypoint: str, folder: str) -> tuple[Path, str]:
    root = project.resolve()
    place, colon, function = entrypoint.rpartition(":")
    if not colon:
        place, _, function = entrypoint.rpartition(".")
    relative = place if place.endswith(".py") else place.replace(".", "/") + ".py"
    path = (root / relative).resolve()
    if not place or not function.isidentifier():
        raise InvalidJob(f"entrypoint {entrypoint!r} is not of the form {folder}/file.py:function")
    if not path.is_relative_to(root):
        raise InvalidJob(f"entrypoint {entrypoint!r} leads out of the project")
    if not path.is_file():
        there = [p.relative_to(root).as_posix() for p in root.glob(f"{folder}/*.py") if not p.name.startswith("_")]
        raise InvalidJob(unknown("flow file", relative, there))
    return path, function


def _describe(
    tree: ast.Module,
    functions: dict[str, Function],
    node: Function,
    decorator: ast.expr,
    names: dict[str, str],
    file: str,
) -> FlowSource:
    options = _options(decorator)
    constants = _constants(tree)
    name = _literal(options.get("name"), constants, node.name.replace("_", "-"))
    if not isinstance(name, str):
        raise InvalidJob(f"the name of the flow in {file} line {node.lineno} is computed; write a literal string")
    timeout = _literal(options.get("timeout_seconds"), constants, None)
    described = _literal(options.get("description"), constants, None)
    arguments = node.args
    positional = arguments.posonlyargs + arguments.args
    optional = len(arguments.defaults)
    required = [a.arg for a in positional[: len(positional) - optional]]
    required += [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
    prints = [] if "log_prints" in options else _prints(node)
    return FlowSource(
        file=file,
        line=node.lineno,
        function=node.name,
        name=name,
        description=described if isinstance(described, str) else (ast.get_docstring(node) or "").partition("\n")[0],
        parameters=tuple(a.arg for a in positional + arguments.kwonlyargs),
        required=tuple(required),
        takes_any=arguments.kwarg is not None,
        retries=_most_retries(tree, functions, decorator, names, constants),
        time_limit=timedelta(seconds=timeout) if isinstance(timeout, int | float) and timeout > 0 else None,
        has_tasks=_has_tasks(tree, functions, node, names),
        silent_print=min(prints) if prints else None,
    )


def _prefect_names(tree: ast.Module) -> dict[str, str]:
    """Local names of Prefect's `flow` and `task`, with and without a module before them."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("prefect", "prefect.flows", "prefect.tasks"):
            names.update({a.asname or a.name: a.name for a in node.names if a.name in ("flow", "task")})
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "prefect":
                    names.update({f"{alias.asname or alias.name}.{kind}": kind for kind in ("flow", "task")})
    return names


def _decorator(node: Function, kind: str, names: dict[str, str]) -> ast.expr | None:
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if names.get(ast.unparse(called)) == kind:
            return decorator
    return None


def _options(decorator: ast.expr) -> dict[str, ast.expr]:
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    return {keyword.arg: keyword.value for keyword in keywords if keyword.arg}


def _constants(tree: ast.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found.update({target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)})
    return found


def _literal(node: ast.expr | None, constants: dict[str, Any], default: Any) -> Any:
    """The value of a literal or of a module's constant; `default` without a node; None for anything computed."""
    if node is None:
        return default
    if isinstance(node, ast.Constant):
        return node.value
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _most_retries(
    tree: ast.Module, functions: dict[str, Function], flow: ast.expr, names: dict[str, str], constants: dict[str, Any]
) -> int:
    given = [_options(flow)]
    given += [_options(d) for node in functions.values() if (d := _decorator(node, "task", names)) is not None]
    given += [  # task.with_options(retries=...), and `sweep = task(function, retries=...)`
        _options(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func).endswith(".with_options") or names.get(ast.unparse(node.func)) == "task")
    ]
    most = 0
    for options in given:
        if "retries" in options:
            value = _literal(options["retries"], constants, None)
            most = max(most, value if isinstance(value, int) else 1)
    return most


def _has_tasks(tree: ast.Module, functions: dict[str, Function], flow: Function, names: dict[str, str]) -> bool:
    if any(kind == "task" and (_is_used(tree, name) or "." not in name) for name, kind in names.items()):
        return True
    if any(other is not flow and _decorator(other, "flow", names) for other in functions.values()):
        return True
    if any(isinstance(n, ast.ImportFrom) and (n.level or (n.module or "").startswith("flows.")) for n in tree.body):
        return True  # its helpers may well be tasks
    calls = (node.func for node in ast.walk(flow) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Attribute) and called.attr in ("submit", "map", "delay") for called in calls)


def _is_used(tree: ast.Module, dotted: str) -> bool:
    return any(isinstance(node, ast.Attribute) and ast.unparse(node) == dotted for node in ast.walk(tree))


def _prints(node: Function) -> list[int]:
    calls = (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
