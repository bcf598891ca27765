"""Finds flows in the flows folder that no deployment uses."""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

from horae.errors import InvalidJob
from horae.findings import Finding, Source
from horae.prefect.rules import NO_DEPLOYMENT
from horae.prefect.yaml.flow_definition import Module, parse

FROM_CODE = frozenset({"serve", "deploy", "ato_deployment", "to_deployment"})
"""Methods that deploy a flow from its own file."""


def undeployed(project: Path, led_to: Collection[str], folder: str = "flows") -> Iterator[Finding]:
    """A finding for each file with a flow that nothing deploys. Files whose name starts with `_` are left out.

    `led_to`: the files of the flows that a deployment names.
    """
    for path in sorted((project / folder).glob("*.py")):
        shown = path.relative_to(project).as_posix()
        if path.name.startswith("_") or shown in led_to:
            continue
        try:
            if b"flow" not in path.read_bytes():
                continue
            module = parse(project, path)
        except (InvalidJob, OSError):
            continue  # no deployment uses this file, so a fault in it breaks nothing
        found = _flow(module)
        if found is not None and not _deploys_itself(module.tree):
            message = f"{shown} has the flow {found.name!r}, but no deployment leads to it"
            yield NO_DEPLOYMENT.finding(message, at=Source(file=shown, line=found.lineno))


def _flow(module: Module) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    functions = (node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return next((node for node in functions if module.decorator(node, "flow") is not None), None)


def _deploys_itself(tree: ast.Module) -> bool:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Attribute) and called.attr in FROM_CODE for called in calls)
