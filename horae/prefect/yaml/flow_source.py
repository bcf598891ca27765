"""Reads facts about a flow from its source. It does not import the file, because that would import Prefect."""

import ast
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from horae.jobs.policies import Tier
from horae.prefect.yaml.flow_definition import Definition, Function, Unread, find, locate, parse, split


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowSource:
    file: str
    """The path relative to the project."""
    line: int
    function: str
    name: str
    """The flow's name in Prefect."""
    description: str = ""
    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    """Parameters without a default."""
    takes_any: bool = False
    """It has **keywords."""
    retries: int = 0
    """The most retries that the flow or a task in its file declares. An expression counts as 1."""
    time_limit: timedelta | None = None
    """`timeout_seconds`, if it is a literal."""
    has_tasks: bool = True
    """Whether the file has steps to orchestrate: a task, another flow, `.submit()` or `.map()`."""
    silent_print: int | None = None
    """The line of a `print` in the flow whose output does not reach Prefect, because `log_prints=True` is missing."""
    unread: str = ""
    """Why the source is not enough to know the flow. `name` is then the most likely name."""


def read_flow(base: Path, entrypoint: str, folder: str = Tier.PREFECT.folder) -> FlowSource:
    """The flow of an entrypoint, relative to the folder from which it is deployed; raises InvalidJob.

    Accepted forms: `file.py:function`, `package.module:function`, `package.module.function`; a function may be
    `Class.method`. If only running the file would show the flow, it is `unread` and has the most likely name.
    `folder`: the folder of flows, for messages.
    """
    place, name = split(entrypoint, folder)
    try:
        found = find(base, parse(base, locate(base, place, folder)), name)
    except Unread as error:
        return _unread(place, name, str(error))
    return _describe(found)


def _unread(place: str, name: str, why: str, line: int = 1) -> FlowSource:
    function = name.rpartition(".")[2]
    return FlowSource(
        file=place,
        line=line,
        function=function,
        name=function.replace("_", "-"),
        takes_any=True,
        retries=1,
        unread=why,
    )


def _describe(found: Definition) -> FlowSource:
    module, node = found.module, found.node
    options, constants = _options(found.maker), _constants(module.tree)
    default = node.name.replace("_", "-")
    name = _literal(options.get("name"), constants, default)
    spread = isinstance(found.maker, ast.Call) and any(keyword.arg is None for keyword in found.maker.keywords)
    unread = ""
    if not isinstance(name, str) or (spread and "name" not in options):
        unread = f"the name of the flow in {module.file} line {node.lineno} is computed; Horae assumes {default!r}"
    timeout = _literal(options.get("timeout_seconds"), constants, None)
    described = _literal(options.get("description"), constants, None)
    arguments = node.args
    positional = arguments.posonlyargs + arguments.args
    optional = len(arguments.defaults)
    required = [a.arg for a in positional[: len(positional) - optional]]
    required += [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
    parameters = [a.arg for a in positional + arguments.kwonlyargs]
    if _is_method(found):
        required, parameters = [one for one in required if one != parameters[0]], parameters[1:]
    prints = [] if "log_prints" in options or spread else _prints(node)
    return FlowSource(
        file=module.file,
        line=node.lineno,
        function=node.name,
        name=name if isinstance(name, str) else default,
        description=described if isinstance(described, str) else (ast.get_docstring(node) or "").partition("\n")[0],
        parameters=tuple(parameters),
        required=tuple(required),
        takes_any=arguments.kwarg is not None,
        retries=max(_most_retries(found, constants), int(spread)),
        time_limit=_limit(timeout),
        has_tasks=_has_tasks(found),
        silent_print=min(prints) if prints else None,
        unread=unread,
    )


def _is_method(found: Definition) -> bool:
    """Whether the first parameter is the instance or the class, which Prefect binds."""
    node = found.node
    if any(node is one for one in ast.walk(found.module.tree) if isinstance(one, ast.ClassDef) for one in one.body):
        plain = {ast.unparse(one) for one in node.decorator_list}
        return "staticmethod" not in plain and bool(node.args.posonlyargs + node.args.args)
    return False


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
    """The value of a literal or of a module constant; `default` if `node` is None; None for a computed value."""
    if node is None:
        return default
    if isinstance(node, ast.Constant):
        return node.value
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _limit(timeout: Any) -> timedelta | None:
    """None also for a limit that no run reaches."""
    if not isinstance(timeout, int | float) or timeout <= 0:
        return None
    with suppress(OverflowError, ValueError):
        return timedelta(seconds=timeout) or None
    return None


def _most_retries(found: Definition, constants: dict[str, Any]) -> int:
    module, functions = found.module, _functions(found.module.tree)
    given = [_options(found.maker)]
    given += [_options(d) for node in functions if (d := module.decorator(node, "task")) is not None]
    given += [  # task.with_options(retries=...), and `sweep = task(function, retries=...)`
        _options(node)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func).endswith(".with_options") or module.prefect.get(ast.unparse(node.func)) == "task")
    ]
    most = 0
    for options in given:
        if "retries" in options:
            value = _literal(options["retries"], constants, None)
            most = max(most, value if isinstance(value, int) else 1)
    return most


def _functions(tree: ast.Module) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _has_tasks(found: Definition) -> bool:
    module, flow = found.module, found.node
    if any(
        kind == "task" and (_is_used(module.tree, name) or "." not in name) for name, kind in module.prefect.items()
    ):
        return True
    if any(other is not flow and module.decorator(other, "flow") for other in _functions(module.tree)):
        return True
    imports = (node for node in module.tree.body if isinstance(node, ast.ImportFrom))
    if any(node.level or (node.module or "").startswith("flows.") for node in imports):
        return True  # imported helpers may be tasks
    calls = (node.func for node in ast.walk(flow) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Attribute) and called.attr in ("submit", "map", "delay") for called in calls)


def _is_used(tree: ast.Module, dotted: str) -> bool:
    return any(isinstance(node, ast.Attribute) and ast.unparse(node) == dotted for node in ast.walk(tree))


def _prints(node: Function) -> list[int]:
    calls = (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
