"""Trains and evaluates a model on a data set, on request (`ml-pipeline` in prefect.yaml has no schedule).

It is on Prefect because a person starts it with parameters, watches the steps, and reads the card and plots in the UI.
A step whose data, parameters and code are the same as before is not run again.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows._ml import steps
from flows._ml.errors import require_extra
from flows._ml.settings import MlSettings
from flows._ml.steps import Plan
from horae import Job, Tier, clock, settings
from horae.errors import HoraeError
from horae.project.loading import job_settings

NAME = "ml-pipeline"
JOB = Job(name=NAME, tier=Tier.PREFECT, settings=MlSettings)
"""The job's name, which is the name of its table in horae.toml."""


def key_of(context: Any, parameters: dict[str, Any]) -> str:
    """The cache key of a step's result, made of all its inputs."""
    return f"{NAME}-{context.task.name}-{parameters['plan'].key}"


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a retry may succeed. A fault of the data set is not retried."""
    return not isinstance(state.result(raise_on_failure=False), HoraeError)


def step(name: str) -> Callable[[Callable[..., Any]], Any]:
    """A task with a cached result. The cache is JSON, so no pickle is stored or read."""
    return task(
        name=name,
        retries=1,
        retry_delay_seconds=5,
        retry_condition_fn=may_pass,
        persist_result=True,
        result_serializer="json",
        cache_key_fn=key_of,
        cache_expiration=timedelta(days=30),
    )


validate = step("validate")(steps.validate)
split = step("split")(steps.split)
preprocess = step("preprocess")(steps.preprocess)
train = step("train")(steps.train)
evaluate = step("evaluate")(steps.evaluate)


@task(name="report", retries=2, retry_delay_seconds=5)
def make_report(
    plan: Plan, validated: dict[str, Any], trained: dict[str, Any], evaluated: dict[str, Any]
) -> dict[str, Any]:
    """Write the model card and the artifacts; returns a summary."""
    from flows._ml import card, plots

    text = steps.describe(plan, validated, trained, evaluated, clock.now())
    create_markdown_artifact(key=f"{NAME}-card", markdown=text, description=f"Model card of {plan.name}")
    rows = [{"metric": name, "test rows": round(value, 4)} for name, value in evaluated["metrics"].items()]
    create_table_artifact(key=f"{NAME}-metrics", table=rows, description=f"Metrics of {plan.name}")
    for name in ("confusion", "residuals", "importance"):
        image = plan.folder / f"{name}.png"
        if image.is_file():
            create_image_artifact(
                key=f"{NAME}-{name}", image_url=plots.data_url(image), description=f"{name.capitalize()} of {plan.name}"
            )
    return {
        "problem": validated["problem"],
        "rows": validated["rows"],
        "metrics": evaluated["metrics"],
        "cross_validation": {name: trained[name] for name in ("scoring", "mean", "deviation", "baseline")},
        "warnings": card.warnings(validated, trained, evaluated),
        "notes": validated["notes"],
        "model": str(plan.folder / "model.skops"),
        "card": str(plan.folder / "card.md"),
    }


@flow(name=NAME, timeout_seconds=4 * 3600)
def ml_pipeline(
    dataset: str = "iris",
    target: str | None = None,
    model: Literal["gradient-boosting", "linear", "random-forest"] = "random-forest",
    problem: Literal["auto", "classification", "regression"] = "auto",
    exclude: list[str] | None = None,
    trust: list[str] | None = None,
) -> dict[str, Any]:
    """Validate, split, preprocess, train with cross-validation, evaluate; leave a model, a card and plots.

    Args:
        dataset: breast-cancer, diabetes, digits, iris or wine, or a CSV, TSV or Parquet file relative to the project.
        target: Column to predict. A data set of scikit-learn needs none.
        model: Kind of model to train.
        problem: What the target is. auto: words and few whole numbers are classes, other numbers are a regression.
        exclude: Columns that the model must not use.
        trust: Columns that are known before the target, however well they predict it.
    """
    require_extra()
    plan = _plan(dataset, target, model, problem, tuple(exclude or ()), tuple(trust or ()))
    get_run_logger().info("%s of %s is written to %s", model, plan.source.name, plan.folder)
    progress: Any = create_progress_artifact(progress=0.0, key=f"{NAME}-progress", description="Validating")

    def told(percent: float, doing: str) -> None:
        update_progress_artifact(progress, percent, description=doing)

    validated = _fresh(validate, plan)(plan)
    for note in validated["notes"]:
        get_run_logger().info("%s", note)
    told(20.0, "Splitting")
    validated |= _fresh(split, plan)(plan, validated["problem"])
    told(30.0, "Preprocessing")
    validated["preprocessing"] = _fresh(preprocess, plan)(plan)
    told(40.0, f"Training {model} on {validated['train_rows']} rows")
    trained = _fresh(train, plan)(plan, validated["problem"])
    told(80.0, f"Evaluating on {validated['test_rows']} rows")
    evaluated = _fresh(evaluate, plan)(plan, validated["problem"])
    summary: dict[str, Any] = make_report(plan, validated, trained, evaluated)
    told(100.0, ", ".join(f"{name} {value:.3f}" for name, value in summary["metrics"].items()))
    for warning in summary["warnings"]:
        get_run_logger().warning("%s", warning)
    return summary


def _fresh(step: Any, plan: Plan) -> Any:
    """The step. It runs again, despite a cached result, if its file is gone."""
    gone = not (plan.folder / steps.OUTPUTS[step.name]).is_file()
    return step.with_options(refresh_cache=gone)


def _plan(
    dataset: str, target: str | None, model: str, problem: str, exclude: tuple[str, ...], trust: tuple[str, ...]
) -> Plan:
    from flows._ml import datasets

    project = settings.load()
    given: MlSettings = job_settings(project, JOB)
    source = datasets.locate(dataset, project.project)
    columns = datasets.read(source, given.most_rows)
    return Plan(
        source=source,
        target=datasets.target_of(columns, source, target),
        model=model,
        problem=problem,
        exclude=exclude,
        trust=trust,
        settings=given,
        models_folder=project.project / Path(given.folder).expanduser() if given.folder else project.state / "models",
    )
