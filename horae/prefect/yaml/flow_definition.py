"""Finds the file of an entrypoint and the definition of the flow in it, without importing anything."""

import ast
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from horae.errors import InvalidJob, unknown
from horae.jobs.policies import Tier

type Function = ast.FunctionDef | ast.AsyncFunctionDef
type Node = Function | ast.ClassDef | ast.expr | ast.ImportFrom | ast.Import
FOLLOWED = 5
"""The most names (assignments, imports) to follow from one to the next."""


class Unread(Exception):
    """The flow may exist, but only running its file would show it. The text is the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A parsed file."""

    file: str
    """The path relative to the project, for messages."""
    path: Path
    tree: ast.Module
    prefect: dict[str, str]
    """Local names for Prefect's `flow` and `task`, with or without a module prefix, each with `flow` or `task`."""

    def decorator(self, node: Function, kind: str) -> ast.expr | None:
        """The function's decorator that is Prefect's `flow` or `task`, as `kind` says."""
        return next((one for one in node.decorator_list if self.prefect.get(_called(one)) == kind), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """A flow in a file: its function, and the call or name that turns it into a flow."""

    module: Module
    node: Function
    maker: ast.expr


def split(entrypoint: str, folder: str) -> tuple[str, str]:
    """Split an entrypoint into its place and dotted name, as Prefect does; raises InvalidJob."""
    place, colon, name = entrypoint.rpartition(":")
    if not colon:
        place, _, name = entrypoint.rpartition(".")
    if not place or not all(part.isidentifier() for part in name.split(".")):
        raise InvalidJob(f"entrypoint {entrypoint!r} is not of the form {folder}/file.py:function")
    return place, name


def locate(base: Path, place: str, folder: str = Tier.PREFECT.folder) -> Path:
    """The file of a place, relative to `base`. Raises InvalidJob, and Unread for an installed package.

    `folder`: the folder of flows, for messages.
    """
    if place.endswith(".py"):
        path = base / place
        if "\0" in place or not path.is_file():
            there = [p.relative_to(base).as_posix() for p in base.glob(f"{folder}/*.py") if not p.name.startswith("_")]
            raise InvalidJob(unknown("flow file", place, there))
        return path
    if not all(part.isidentifier() for part in place.split(".")):
        raise InvalidJob(f"{place!r} is neither a file whose name ends in .py nor the name of a module")
    inside = Path(*place.split("."))
    for candidate in (base / inside.with_suffix(".py"), base / inside / "__init__.py"):
        if candidate.is_file():
            return candidate
    if (base / inside.parts[0]).is_dir():
        raise InvalidJob(f"the module {place!r} does not exist in {base / inside.parts[0]}")
    raise Unread(f"the module {place!r} is not in this project")


def parse(base: Path, path: Path) -> Module:
    """Parse a Python file in any declared encoding; raises InvalidJob."""
    file = Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()
    try:
        # Pass bytes, so that Python itself handles a byte order mark and a coding comment.
        tree = ast.parse(path.read_bytes(), file)
    except SyntaxError as error:
        line = f" line {error.lineno}" if error.lineno else ""
        raise InvalidJob(f"{file}{line}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise InvalidJob(f"{file} cannot be read: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise InvalidJob(f"{file} has too deep nesting to be read") from error
    return Module(file=file, path=path, tree=tree, prefect=_prefect_names(tree))


def find(base: Path, module: Module, name: str) -> Definition:
    """The definition for a dotted name in a module; raises InvalidJob or Unread."""
    return _Search(base).find(module, name.split("."))


class _Search:
    def __init__(self, base: Path) -> None:
        self._base, self._left = base, FOLLOWED

    def find(self, module: Module, name: Sequence[str], within: ast.ClassDef | None = None) -> Definition:
        self._left -= 1
        if self._left < 0:
            raise Unread(f"{'.'.join(name)!r} in {module.file} is defined through too many names")
        bound = dict(_bound(within.body if within else module.tree.body))
        first, *rest = name
        node = bound.get(first)
        match node:
            case None:
                raise self._absent(module, first, bound)
            case ast.ClassDef() if rest:
                return self.find(module, rest, node)
            case ast.ClassDef():
                raise InvalidJob(
                    f"{first!r} in {module.file} is a class; name a flow in the class, such as {first}.method"
                )
            case ast.ImportFrom():
                return self._imported(module, node, first, rest)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not rest:
                return self._decorated(module, node, bound)
            case ast.Name() if not rest:
                return self.find(module, [node.id], within)
            case ast.Call() if not rest:
                return self._made(module, node, bound)
        raise Unread(f"{'.'.join(name)!r} in {module.file} is computed, so Horae cannot read it")

    def _decorated(self, module: Module, node: Function, bound: dict[str, Node]) -> Definition:
        maker = module.decorator(node, "flow")
        if maker is not None:
            return Definition(module=module, node=node, maker=maker)
        strange = [_called(one) for one in node.decorator_list if _called(one) not in _PLAIN]
        strange = [one for one in strange if module.prefect.get(one) != "task"]
        if strange:
            raise Unread(
                f"{node.name!r} in {module.file} has the decorator {strange[0]}, which may turn it into a flow"
            )
        flows = [key for key, one in bound.items() if isinstance(one, _FUNCTIONS) and module.decorator(one, "flow")]
        hint = f"; flows in this file: {', '.join(flows)}" if flows else ""
        message = f"{node.name!r} in {module.file} is a plain function without Prefect's @flow decorator{hint}"
        raise InvalidJob(message)

    def _made(self, module: Module, call: ast.Call, bound: dict[str, Node]) -> Definition:
        """`made = flow(function, ...)` and `made = flow(...)(function)`."""
        maker = call.func if isinstance(call.func, ast.Call) else call
        if module.prefect.get(_called(maker)) == "flow" and call.args and isinstance(call.args[0], ast.Name):
            function = bound.get(call.args[0].id)
            if isinstance(function, _FUNCTIONS):
                return Definition(module=module, node=function, maker=maker)
        raise Unread(f"the flow in {module.file} line {call.lineno} is made by a call other than flow(function)")

    def _imported(self, module: Module, node: ast.ImportFrom, name: str, rest: Sequence[str]) -> Definition:
        original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
        folder = module.path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        base = folder if node.level else self._base
        try:
            path = locate(base, node.module or "__init__")
        except InvalidJob as error:
            raise Unread(
                f"{name!r} in {module.file} is imported from {node.module!r}, which is not in this project"
            ) from error
        return self.find(parse(self._base, path), [original, *rest])

    def _absent(self, module: Module, name: str, bound: dict[str, Node]) -> Exception:
        if "*" in bound or "__getattr__" in bound:
            return Unread(f"{name!r} in {module.file} may come from an `import *`")
        return InvalidJob(f"{module.file}: " + unknown("function", name, bound))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PLAIN = frozenset({"staticmethod", "classmethod"})


def _bound(body: Sequence[ast.stmt]) -> Iterator[tuple[str, Node]]:
    """The names that statements bind, also under `if`, `try` and `with`. The last binding of a name comes last."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node
            case ast.Assign():
                yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case ast.ImportFrom() | ast.Import():
                yield from ((alias.asname or alias.name, node) for alias in node.names)
            case ast.If():
                yield from _bound([*node.orelse, *node.body])
            case ast.Try() | ast.TryStar():
                handled = [inner for handler in node.handlers for inner in handler.body]
                yield from _bound([*handled, *node.body, *node.orelse, *node.finalbody])
            case ast.With() | ast.AsyncWith() | ast.For() | ast.While():
                yield from _bound(node.body)


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def _prefect_names(tree: ast.Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("prefect", "prefect.flows", "prefect.tasks"):
            names.update({a.asname or a.name: a.name for a in node.names if a.name in ("flow", "task")})
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "prefect":
                    names.update({f"{alias.asname or alias.name}.{kind}": kind for kind in ("flow", "task")})
    return names
