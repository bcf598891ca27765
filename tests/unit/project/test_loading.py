"""A project's files become jobs; what is broken is named with file and line, and the rest loads."""

import pickle
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from horae.errors import InvalidSettings
from horae.findings import Finding, Source
from horae.jobs.policies import Tier
from horae.project.loading import import_job_file, job_files, job_settings, load
from horae.settings import Settings
from horae.settings import load as load_settings


def write(project: Path, file: str, text: str) -> None:
    (project / file).write_text(dedent(text).lstrip())


def settings(project: Path, **environment: str) -> Settings:
    return load_settings(project, environment)


def only(findings: tuple[Finding, ...]) -> Finding:
    (finding,) = findings
    return finding


SOUND = """
    from horae import job

    @job(traits=["infrastructure"])
    def sound() -> str:
        "A sound job."
        return "done"
"""
MODELLED = """
    from pydantic import BaseModel
    from horae import job

    class BackupSettings(BaseModel):
        keep: int = 7
        folder: str = "backups"

    @job("database-backup", settings=BackupSettings)
    def backup() -> None: ...
"""


def test_the_folder_gives_the_tier(project: Path) -> None:
    write(project, "infra/sound.py", SOUND)
    write(project, "internal/heartbeat.py", "from horae import job\n\n@job()\ndef heartbeat() -> None: ...\n")
    registry = load(settings(project))
    assert registry.problems == ()
    assert [(job.name, job.tier) for job in registry] == [
        ("sound", Tier.ONEIRIC),
        ("heartbeat", Tier.APSCHEDULER),
    ]
    sound = registry.get("sound")
    assert sound.source == Source(file="infra/sound.py", line=3)
    assert sound.function is not None
    assert sound.function() == "done"


def test_helpers_are_no_job_files_and_what_they_declare_is_not_theirs_who_import_it(project: Path) -> None:
    write(project, "infra/sound.py", SOUND)
    write(project, "infra/_helper.py", "VALUE = 3\n")
    write(
        project,
        "infra/user.py",
        """
        from horae import job
        from infra._helper import VALUE
        from infra.sound import sound

        @job()
        def user() -> int:
            return VALUE
        """,
    )
    registry = load(settings(project))
    assert registry.problems == ()
    assert registry.names == ("sound", "user")
    assert [path.name for _, path in job_files(settings(project))] == ["sound.py", "user.py"]


@pytest.mark.parametrize(
    ("text", "code", "line", "message"),
    [
        ("import horae\nimport no_such_module\n", "HR701", 2, "No module named 'no_such_module'"),
        ("x = 1\ndef broken(:\n", "HR701", 2, "SyntaxError"),
        ("x = 1\n\nx.y()\n", "HR701", 3, "AttributeError"),
        ("import sys\nsys.exit(3)\n", "HR701", 2, "SystemExit"),
        ("from horae import job\n@job('Bad Name')\ndef f(): ...\n", "HR702", 2, "'bad-name' would do"),
        ("from horae import job\n@job(traits=['dashbord'])\ndef f(): ...\n", "HR702", 2, "'dashboard'"),
        ("from horae import job\n@job(scope='eech')\ndef f(): ...\n", "HR702", 2, "did you mean 'each'"),
        ("from horae import job\n@job(bogus=1)\ndef f(): ...\n", "HR702", 2, "unknown job setting 'bogus'"),
        ("from horae import job\nfrom horae import cron\n\n@job(schedule=cron('0 25 * * *'))\n"
         "def f(): ...\n", "HR702", 4, "25"),
        ("x = 1\n", "HR703", 1, "no job"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line_and_the_others_load(
    project: Path, text: str, code: str, line: int, message: str
) -> None:
    write(project, "infra/sound.py", SOUND)
    (project / "infra/broken.py").write_text(text)
    registry = load(settings(project))
    finding = only(registry.problems)
    assert (finding.code, finding.file, finding.line) == (code, "infra/broken.py", line)
    assert message in finding.message
    assert registry.names == ("sound",)


def test_an_error_in_a_helper_is_reported_at_the_import_of_it(project: Path) -> None:
    write(project, "infra/_helper.py", "1 / 0\n")
    write(project, "infra/user.py", "import horae\nimport infra._helper\n")
    finding = only(load(settings(project)).problems)
    assert (finding.file, finding.line) == ("infra/user.py", 2)
    assert "ZeroDivisionError" in finding.message


def test_a_file_name_that_is_no_module_name_is_refused(project: Path) -> None:
    write(project, "infra/my-job.py", SOUND)
    finding = only(load(settings(project)).problems)
    assert "`_` instead of `-`" in finding.message


def test_a_name_taken_is_reported_with_both_places_and_the_first_stays(project: Path) -> None:
    write(project, "infra/sound.py", SOUND)
    write(project, "internal/other.py", SOUND)
    registry = load(settings(project))
    finding = only(registry.problems)
    assert (finding.code, finding.file, finding.line) == ("HR402", "internal/other.py", 3)
    assert "infra/sound.py:3" in finding.message
    assert registry.get("sound").tier is Tier.ONEIRIC


def test_two_jobs_in_a_file_are_both_loaded_with_a_warning(project: Path) -> None:
    write(project, "infra/two.py", SOUND + "\n    @job()\n    def other() -> None: ...\n")
    registry = load(settings(project))
    assert registry.names == ("other", "sound")
    assert only(registry.problems).code == "HR703"


def test_loading_twice_runs_a_file_once_and_again_when_it_changed(project: Path) -> None:
    write(project, "infra/sound.py", SOUND)
    first = load(settings(project)).get("sound").function
    assert load(settings(project)).get("sound").function is first
    assert pickle.loads(pickle.dumps(first)) is first
    write(project, "infra/sound.py", SOUND.replace("done", "changed"))
    second = load(settings(project)).get("sound").function
    assert second is not None
    assert second() == "changed"


def test_two_projects_in_one_process_do_not_see_each_others_files(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "infra").mkdir(parents=True)
    (other / "infra/__init__.py").touch()
    for folder, value in ((project, "'one'"), (other, "'two'")):
        write(folder, "infra/_helper.py", f"VALUE = {value}\n")
        write(
            folder,
            "infra/says.py",
            """
            from horae import job
            from infra._helper import VALUE

            @job()
            def says() -> str:
                return VALUE
            """,
        )
    for folder, value in ((project, "one"), (other, "two"), (project, "one")):
        says = load(Settings(project=folder)).get("says").function
        assert says is not None
        assert says() == value


def test_a_fresh_process_can_import_a_job_file_by_its_module_name(project: Path) -> None:
    write(project, "infra/sound.py", SOUND)
    code = (
        "import sys; from pathlib import Path; from horae.project.loading import import_job_file; "
        "print(import_job_file(Path(sys.argv[1]), 'infra.sound').sound())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(project)], capture_output=True, text=True, check=True, cwd=project.parent
    )
    assert done.stdout == "done\n"


def test_what_a_file_prints_while_it_loads_goes_to_stderr(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, "infra/sound.py", "print('loading')\n" + dedent(SOUND))
    assert load(settings(project)).names == ("sound",)
    assert capsys.readouterr() == ("", "loading\n")


def test_importing_a_file_that_is_not_there_says_so(project: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_job_file(project, "infra.nothing")


def test_settings_of_a_job_come_from_its_table_as_its_own_model(project: Path) -> None:
    write(project, "infra/backup.py", MODELLED)
    write(project, "horae.toml", "[jobs.database-backup]\nkeep = 3\n")
    given = settings(project, HORAE_JOBS__DATABASE_BACKUP__FOLDER="elsewhere")
    registry = load(given)
    assert registry.problems == ()
    model = job_settings(given, registry.get("database-backup"))
    assert (model.keep, model.folder) == (3, "elsewhere")


def test_a_job_without_a_model_has_no_settings(project: Path) -> None:
    write(project, "infra/sound.py", SOUND)
    given = settings(project)
    assert job_settings(given, load(given).get("sound")) is None


@pytest.mark.parametrize(
    ("toml", "code", "line", "message"),
    [
        ("\n[jobs.database-bakup]\n", "HR704", 2, "did you mean 'database-backup'"),
        ("\n[jobs.sound]\nkeep = 1\n", "HR704", 2, "has no settings"),
        ('\n\n[jobs."database-backup"]\nkep = 1\n', "HR705", 3, "unknown setting 'kep', did you mean 'keep'"),
        ("[jobs.database-backup]\nkeep = 'many'\n", "HR705", 1, "keep: Input should be a valid integer"),
    ],
)
def test_wrong_settings_of_a_job_are_named_with_the_line_of_their_table(
    project: Path, toml: str, code: str, line: int, message: str
) -> None:
    write(project, "infra/sound.py", SOUND)
    write(project, "infra/backup.py", MODELLED)
    (project / "horae.toml").write_text(toml)
    finding = only(load(settings(project)).problems)
    assert (finding.code, finding.file, finding.line) == (code, "horae.toml", line)
    assert message in finding.message


def test_a_flow_may_have_settings_that_it_reads_itself(project: Path) -> None:
    write(project, "flows/sweep.py", "from prefect import flow\n\n@flow\ndef sweep() -> None: ...\n")
    deployment = "deployments:\n  - {name: sweep, entrypoint: 'flows/sweep.py:sweep', work_pool: {name: horae}}\n"
    (project / "prefect.yaml").write_text(deployment)
    (project / "horae.toml").write_text("[jobs.sweep]\ndepth = 1\n")
    given = settings(project)
    registry = load(given)
    assert registry.names == ("sweep/sweep",)
    assert not [finding for finding in registry.problems if finding.code == "HR704"]


def test_wrong_settings_are_refused_when_they_are_asked_for(project: Path) -> None:
    write(project, "infra/backup.py", MODELLED)
    given = settings(project, HORAE_JOBS__DATABASE_BACKUP__KEEP="many")
    said = r"\[jobs.database-backup\] keep: .* \(HORAE_JOBS__DATABASE_BACKUP__KEEP\)"
    with pytest.raises(InvalidSettings, match=said):
        job_settings(given, load(given).get("database-backup"))


def test_loading_imports_nothing_heavy(project: Path) -> None:
    write(project, "infra/sound.py", SOUND)
    code = (
        "import sys; from pathlib import Path; from horae.project.loading import load; "
        "from horae.settings import Settings; load(Settings(project=Path(sys.argv[1]))); "
        "print(sorted({'prefect', 'redis', 'httpx', 'apscheduler', 'oneiric', 'croniter'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(project)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
