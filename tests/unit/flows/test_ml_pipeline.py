"""The work of the machine learning pipeline: data sets, validation with its traps, training, saving, the card."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require

require("ml", module=True)

import numpy  # noqa: E402
import pandas  # noqa: E402
import skops.io  # noqa: E402
from skops.io.exceptions import UntrustedTypesFoundException  # noqa: E402

from flows._ml import card, datasets, evaluating, models, plots, steps  # noqa: E402
from flows._ml.errors import InvalidDataset, Leak  # noqa: E402
from flows._ml.preparing import MISSING, Prepared, prepare  # noqa: E402
from flows._ml.settings import MlSettings  # noqa: E402
from horae import decide  # noqa: E402
from horae.jobs.policies import Tier  # noqa: E402
from horae.project.loading import load  # noqa: E402
from horae.settings import load as load_settings  # noqa: E402

SETTINGS = MlSettings()
ROWS = 120
PNG = b"\x89PNG\r\n"


def customers(**columns: Any) -> Any:
    """A table whose `left` depends on age and city with noise: learnable, and given away by no single column."""
    random = numpy.random.default_rng(1)
    age = random.uniform(18, 80, ROWS)
    city = random.choice(["Bonn", "Kiel", "Ulm"], ROWS)
    chance = (age > 45) * 0.6 + (city == "Kiel") * 0.3
    table = pandas.DataFrame({"age": age, "city": city, "left": random.uniform(0, 1, ROWS) < chance})
    return table.assign(**columns)


def prepared(table: Any, target: str = "left", **more: Any) -> Prepared:
    return prepare(table, target, SETTINGS, **more)


def test_a_sound_table_is_taken_as_it_is() -> None:
    found = prepared(customers())
    assert (found.problem, list(found.features.columns), found.notes) == ("classification", ["age", "city"], ())
    assert set(found.target) == {"True", "False"}


def outcome(table: Any) -> Any:
    return table["left"].map({True: "gone", False: "here"})


@pytest.mark.parametrize(
    "leak",
    [
        lambda table: table["left"],
        outcome,
        lambda table: table["left"].map({True: 4.0, False: 9.0}),
        lambda table: table["left"] * 100.0 + numpy.linspace(0, 1, ROWS),
        lambda table: outcome(table).where(numpy.arange(ROWS) > 3, None),
    ],
    ids=["copy", "other words", "codes", "numbers with noise", "with gaps"],
)
def test_a_column_that_gives_the_target_away_is_refused_by_name(leak: Any) -> None:
    table = customers()
    table["closed_at"] = leak(table)
    with pytest.raises(Leak, match=r"'closed_at'.*exclude=\[\"closed_at\"\].*trust=\[\"closed_at\"\]"):
        prepared(table)
    assert "closed_at" not in prepared(table, exclude=("closed_at",)).features
    assert "closed_at" in prepared(table, trust=("closed_at",)).features


@pytest.mark.parametrize("factor", [1.0, -2.5])
def test_a_column_that_is_the_number_in_another_unit_is_a_leak(factor: float) -> None:
    table = customers(spent=numpy.random.default_rng(2).normal(100, 20, ROWS))
    table["in_cents"] = table["spent"] * factor * 100 + 3
    with pytest.raises(Leak, match="'in_cents'"):
        prepared(table, "spent")
    assert prepared(table.drop(columns="in_cents"), "spent").problem == "regression"


@pytest.mark.parametrize("dataset", sorted(datasets.SHIPPED))
def test_the_shipped_data_sets_leak_nothing(dataset: str) -> None:
    source = datasets.locate(dataset, Path())
    table = datasets.read(source, SETTINGS.most_rows)
    found = prepared(table, datasets.target_of(table, source, None))
    assert found.problem == ("regression" if dataset == "diabetes" else "classification")


def test_one_class_only_is_refused() -> None:
    with pytest.raises(InvalidDataset, match=r"'left' has one value only .*at least two classes"):
        prepared(customers(left="no"))
    table = customers()
    table["left"] = table["left"].astype(object)
    table["left"] = table["left"].where(table["left"].map(bool), None)
    # One class is left when the rows without a target go.
    with pytest.raises(InvalidDataset, match="one value only"):
        prepared(table)


def test_a_class_with_few_rows_is_refused_by_name() -> None:
    table = customers()
    table["left"] = table["left"].map(str)
    table.loc[:2, "left"] = "perhaps"
    with pytest.raises(InvalidDataset, match=r"fewer than 5 rows: perhaps \(3\)"):
        prepared(table)


def test_missing_values_are_kept_and_told() -> None:
    table = customers(note=None, same=1)
    table.loc[:9, "age"] = numpy.nan
    table.loc[10:14, "age"] = numpy.inf
    table.loc[:19, "city"] = None
    table["left"] = table["left"].astype(object)
    table.loc[100:, "left"] = None
    found = prepared(table)
    assert len(found.features) == 100
    assert int(found.features["age"].isna().sum()) == 15
    assert int((found.features["city"] == MISSING).sum()) == 20
    told = " ".join(found.notes)
    assert "20 of 120 rows have no left" in told
    assert "note: left out, because it is empty" in told
    assert "same: left out, because it has only one value" in told
    assert "35 cells (17.5 %) are missing" in told
    fitted, scores = models.train("linear", found.problem, found.features, found.target, SETTINGS)
    assert numpy.isfinite(scores["scores"]).all()
    assert not pandas.isna(pandas.Series(fitted.predict(found.features))).any()


def test_a_target_without_any_value_is_refused() -> None:
    with pytest.raises(InvalidDataset, match=r"0 usable rows are too few.*120 of 120 rows have no left"):
        prepared(customers(left=None))


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (range(ROWS), "numbers the rows"),
        ([f"person {number}" for number in range(ROWS)], "nearly each row has its own value"),
    ],
)
def test_a_column_that_names_rows_is_left_out(column: Any, why: str) -> None:
    found = prepared(customers(customer=list(column)))
    assert "customer" not in found.features
    assert why in found.notes[0]


def test_copies_of_rows_do_not_reach_training_and_test() -> None:
    table = customers()
    assert len(prepared(pandas.concat([table, table])).features) == ROWS
    alike = table.drop(columns="age")
    assert len(prepared(alike).features) == ROWS, "equal rows are no copies where no column tells them apart"


def test_dates_become_numbers() -> None:
    when = pandas.Series(pandas.date_range("2026-01-01", periods=ROWS, freq="h")).sample(frac=1, random_state=1)
    when = when.reset_index(drop=True)
    when[3] = pandas.NaT
    found = prepared(customers(when=when))
    assert found.features["when"].dtype == float
    assert int(found.features["when"].isna().sum()) == 1


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["a", "b"] * 60, "classification"),
        ([True, False] * 60, "classification"),
        ([0, 1, 2] * 40, "classification"),
        ([0.5, 1.5, 2.5] * 40, "regression"),
        (list(range(120)), "regression"),
    ],
)
def test_the_problem_follows_from_the_target(values: list[Any], problem: str) -> None:
    assert prepared(customers(it=values), "it").problem == problem


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"exclude": ("agee",)}, "did you mean 'age'"),
        ({"exclude": ("left",)}, "cannot be excluded"),
        ({"exclude": ("age", "city")}, "no column is left"),
        ({"problem": "regression"}, "values that are not numbers"),
        ({"problem": "clustering"}, "auto, classification, regression"),
    ],
)
def test_what_cannot_be_asked_for(more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidDataset, match=words):
        prepared(customers(), **more)


def test_a_target_of_free_text_is_refused() -> None:
    with pytest.raises(InvalidDataset, match="120 distinct values in 120 rows, which is too many for classes"):
        prepared(customers(said=[f"text {number}" for number in range(ROWS)]), "said")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_files_are_read_and_known_by_their_content(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"customers{suffix}"

    def write(table: Any) -> str:
        if suffix == ".parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
        return datasets.locate(path.name, tmp_path).digest

    first = write(customers())
    source = datasets.locate(path.name, tmp_path)
    assert (source.name, len(datasets.read(source, 1000))) == ("customers", ROWS)
    assert write(customers(age=1.0)) != first


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("iriss", "did you mean 'iris'"),
        ("gone.csv", "the file .*gone.csv does not exist"),
        ("notes.txt", "unknown data set .*Or give a file: .csv"),
    ],
)
def test_a_data_set_that_is_not_there(tmp_path: Path, dataset: str, words: str) -> None:
    with pytest.raises(InvalidDataset, match=words):
        datasets.locate(dataset, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "cannot be read"),
        ("a.csv", b'a,b\n1,2\n1,2,3,4\n"', "cannot be read"),
        ("a.csv", b"a\n\xff\xfe\n", "cannot be read"),
        ("a.parquet", b"PAR1 half", "cannot be read"),
        ("a.csv", b"a\n" + b"1\n" * 20, "more than 10 rows"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidDataset, match=words):
        datasets.read(datasets.locate(name, tmp_path), 10)


def test_the_target_is_named_or_nearly(tmp_path: Path) -> None:
    customers().to_csv(tmp_path / "c.csv", index=False)
    source = datasets.locate("c.csv", tmp_path)
    table = datasets.read(source, 1000)
    with pytest.raises(InvalidDataset, match=r"no column to predict is given; .*age, city, left"):
        datasets.target_of(table, source, None)
    with pytest.raises(InvalidDataset, match="did you mean 'left'"):
        datasets.target_of(table, source, "lefft")


def plan(tmp_path: Path, **more: Any) -> steps.Plan:
    path = tmp_path / "customers.csv"
    if not path.exists():
        customers().to_csv(path, index=False)
    given: dict[str, Any] = {
        "source": datasets.locate(path.name, tmp_path), "target": "left", "model": "linear", "problem": "auto",
        "exclude": (), "trust": (), "settings": SETTINGS, "models_folder": tmp_path / "models",
    }  # fmt: skip
    return steps.Plan(**(given | more))


def run(made: steps.Plan) -> dict[str, Any]:
    validated = steps.validate(made)
    validated |= steps.split(made, validated["problem"])
    validated["preprocessing"] = steps.preprocess(made)
    trained = steps.train(made, validated["problem"])
    evaluated = steps.evaluate(made, validated["problem"])
    text = steps.describe(made, validated, trained, evaluated, datetime(2026, 11, 26, tzinfo=UTC))
    return {"validated": validated, "trained": trained, "evaluated": evaluated, "card": text}


def test_the_whole_pipeline_learns_and_leaves_all(tmp_path: Path) -> None:
    made = plan(tmp_path)
    found = run(made)
    assert found["validated"]["train_rows"] + found["validated"]["test_rows"] == ROWS
    assert found["validated"]["preprocessing"] == {"numbers": 1, "words": 1, "columns_after": 4}
    assert found["trained"]["mean"] > found["trained"]["baseline"] + 0.1
    assert next(iter(found["evaluated"]["importance"])) == "age"
    for image in ("confusion.png", "importance.png"):
        assert (made.folder / image).read_bytes().startswith(PNG)
    assert plots.data_url(made.folder / "confusion.png").startswith("data:image/png;base64,")
    assert (made.folder / "card.md").read_text() == found["card"]
    rows = customers().drop(columns="left").head(3)
    assert set(models.load(made.folder / "model.skops").predict(rows)) <= {"True", "False"}


def test_numbers_are_predicted_with_residuals(tmp_path: Path) -> None:
    made = plan(tmp_path, target="age")
    found = run(made)
    assert set(found["evaluated"]["metrics"]) == {"R²", "mean absolute error", "root mean squared error"}
    assert (made.folder / "residuals.png").read_bytes().startswith(PNG)


def test_the_same_plan_gives_the_same_model_and_another_has_another_key(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert run(made)["evaluated"] == run(plan(tmp_path))["evaluated"]
    others = [
        plan(tmp_path, model="random-forest"),
        plan(tmp_path, exclude=("city",)),
        plan(tmp_path, settings=MlSettings(seed=1)),
    ]
    customers(age=1.0).to_csv(tmp_path / "customers.csv", index=False)
    keys = {one.key for one in (made, *others, plan(tmp_path))}
    assert len(keys) == 5


def test_the_oldest_models_go(tmp_path: Path) -> None:
    for seed in range(3):
        run(plan(tmp_path, settings=MlSettings(seed=seed, keep_models=2)))
    assert len(list((tmp_path / "models" / "customers-linear").iterdir())) == 2


@pytest.mark.parametrize("model", models.MODELS)
@pytest.mark.parametrize("target", ["left", "age"])
def test_each_model_is_saved_without_pickle_and_read_back(tmp_path: Path, model: str, target: str) -> None:
    found = prepared(customers(), target)
    fitted = models.pipeline(model, found.problem, found.features, 0)
    fitted.set_params(**{"model__n_estimators": 5} if model == "random-forest" else {})
    fitted.fit(found.features, found.target)
    models.save(fitted, tmp_path / "model.skops", found.features)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.skops"]
    assert set(skops.io.get_untrusted_types(file=tmp_path / "model.skops")) <= set(models.TRUSTED)


class Stranger:
    """What no model of this pipeline holds."""


def test_a_file_with_anything_else_is_not_loaded(tmp_path: Path) -> None:
    skops.io.dump(Stranger(), tmp_path / "model.skops")
    with pytest.raises(UntrustedTypesFoundException):
        models.load(tmp_path / "model.skops")


def test_a_model_that_is_not_known_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidDataset, match="did you mean 'random-forest'"):
        models.check_name("random_forest")


def test_every_class_has_its_share_in_the_test_rows() -> None:
    target = pandas.Series(["rare"] * 6 + ["often"] * 114)
    _, _, train, test = models.split(customers(), target, "classification", SETTINGS)
    assert (train.value_counts()["rare"], test.value_counts()["rare"]) == (5, 1)


def test_a_model_that_is_no_better_than_a_guess_says_so_first() -> None:
    found = prepared(customers(left=numpy.random.default_rng(4).choice(["yes", "no"], ROWS)))
    fitted, scores = models.train("linear", found.problem, found.features, found.target, SETTINGS)
    judged = evaluating.evaluate(fitted, found.problem, found.features, found.target, 0) | {"test_rows": ROWS}
    scores["mean"] = min(scores["mean"], scores["baseline"])  # chance may have helped it
    about = dict.fromkeys(("name", "model", "dataset", "source", "digest", "scikit_learn", "file", "trusted"), "x")
    validated = {
        "problem": found.problem, "target": "left", "train_rows": ROWS, "rows": ROWS, "columns": ["age", "city"],
        "notes": [], "classes": {}, "trusted": ["city"],
    }  # fmt: skip
    text = card.card(about, validated, scores, judged, datetime(2026, 11, 26, tzinfo=UTC))
    assert text.startswith("> **The model is no better than a guess without features")
    assert "These columns were not checked for leaks, because of `trust`: city." in text


def test_the_page_names_every_setting_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/train-a-model.md").read_text()
    for name, field in MlSettings.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line.split(" | ")[0]]
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"| {field.default} |" in row


def test_the_matrix_puts_it_on_prefect() -> None:
    job = load(load_settings(Path(__file__).parents[3], {})).get("ml-pipeline")
    assert job.tier is decide(job.traits, job.schedule).tier is Tier.PREFECT
