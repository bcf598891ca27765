"""Settings: a mistake is told with where it stands, and is no surprise later."""

import re
from pathlib import Path

import pytest

from horae.errors import InvalidSettings
from horae.settings import Settings, load


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repos = 5", r'repos: .* a list, such as \["\."\] \(horae\.toml:1\)'),
        ("\nrepos = [5]", r"valid string \(horae\.toml:2\)"),
        ('# the store\n[store]\n\nport = "x"', r"store\.port: .*\(horae\.toml:4\)"),
        (
            '[store]\nurl = "http://u:secret@x"',
            r"store\.url: unknown scheme .* 'http'\. Known: redis, .*\(horae\.toml:2\)",
        ),
        ('[store]\nurl = ""', "this one has no ://"),
        ('[store]\nurl = "redis://u:secret@x:70000/0"', "its host is not of the form HOST or HOST:PORT"),
        ('[queue]\nredis_url = "amqp://x"', r"queue\.redis_url: unknown scheme .* 'amqp'"),
        (
            '[prefect]\napi_url = "127.0.0.1:4200/api"',
            r"prefect\.api_url: .*must begin with one of http:// and https://",
        ),
        ("nonsense = 1", r"unknown setting 'nonsense'\. Known: .*\(horae\.toml:1\)"),
        ("\n[store]\nprot = 1", r"unknown setting 'prot', did you mean 'port'\?.*\(horae\.toml:3 in \[store\]\)"),
        (
            '[queue]\nredis = { pasword = "secret" }',
            r"did you mean 'password'\?.*\(horae\.toml:2 in \[queue\.redis\]\)",
        ),
        ('project = "/"', r"unknown setting 'project'.*\(horae\.toml:1\)"),
        ("[store]\nkeep_runs_days = inf", r"store\.keep_runs_days: Input should be a finite number \(horae\.toml:2\)"),
        ("[worker]\nlease_seconds = nan", r"worker\.lease_seconds: Input should be a finite number"),
        ("[worker]\nlease_seconds = 1e300", r"worker\.lease_seconds: Input should be less than or equal to 86400"),
        ("[store]\nkeep_runs_per_job = 1e300", r"store\.keep_runs_per_job: .*\(horae\.toml:2\)"),
        ("[store]\nkeep_runs_per_job = " + "9" * 5000, r"horae\.toml: Exceeds the limit"),
        ("revision = 99999999999999999999999", r"revision: .*\(horae\.toml:1\)"),
        ('state_dir = "a\\u0000b"', r"state_dir: it contains a NUL character \(horae\.toml:1\)"),
        ('state_dir = "a\0b"', r"horae\.toml: "),
        ("[jobs.x]\na = " + "[" * 30 + "]" * 30, r"more than 20 levels of nesting"),
        ("[jobs.x]\na = " + "[" * 100_000, r"more than 20 levels of nesting"),
        ("jobs." + ".".join("a" * 50) + " = 1", r"more than 20 levels of nesting"),
        ("repos = [", r"horae\.toml"),
    ],
)
def test_a_mistake_is_told_with_where_it_stands(project: Path, text: str, said: str) -> None:
    (project / "horae.toml").write_text(text)
    with pytest.raises(InvalidSettings, match=said) as refused:
        load(project, {})
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    "url", ["redis://h:6379/0", "rediss://u:p@h/1", "unix:///run/valkey.sock", "redis+sentinel://h/horae"]
)
def test_urls_of_a_store(project: Path, url: str) -> None:
    found = load(project, {"HORAE_STORE__URL": url, "HORAE_PREFECT__API_URL": "https://prefect.internal/api"})
    assert found.store.url
    assert found.store.url.get_secret_value() == url


@pytest.mark.parametrize("field", ["store", "prefect", "queue", "worker", "sidecar", ""])
def test_every_number_has_both_bounds(field: str) -> None:
    model = type(Settings.model_fields[field].default) if field else Settings
    for name, one in model.model_fields.items():
        if one.annotation in (int, float, int | None):
            signs = {sign for part in one.metadata for sign in ("ge", "gt", "le", "lt") if hasattr(part, sign)}
            assert len(signs) == 2, f"[{field}] {name}"


class TestSources:
    """The later prevails: horae.toml, .env, a directory of secrets, the environment."""

    @pytest.fixture
    def secrets(self, tmp_path: Path) -> Path:
        (tmp_path / "secrets").mkdir()
        return tmp_path / "secrets"

    def test_each_source_goes_before_the_one_below_it(self, project: Path, secrets: Path) -> None:
        tables = {"store": "port", "prefect": "port", "worker": "health_port", "sidecar": "health_port"}
        (project / "horae.toml").write_text("".join(f"[{name}]\n{key} = 1\n" for name, key in tables.items()))
        (project / ".env").write_text(
            "HORAE_PREFECT__PORT=2\nHORAE_WORKER__HEALTH_PORT=2\nHORAE_SIDECAR__HEALTH_PORT=2\n"
        )
        (secrets / "HORAE_WORKER__HEALTH_PORT").write_text("3\n")
        (secrets / "horae_sidecar__health_port").write_text("3\n")
        found = load(project, {"HORAE_SECRETS_DIR": str(secrets), "HORAE_SIDECAR__HEALTH_PORT": "4"})
        ports = (found.store.port, found.prefect.port, found.worker.health_port, found.sidecar.health_port)
        assert ports == (1, 2, 3, 4)
        assert found.origin("store", "port") == "horae.toml:2"
        assert found.origin("prefect", "port") == ".env:1"
        assert found.origin("worker", "health_port") == str(secrets / "HORAE_WORKER__HEALTH_PORT")
        assert found.origin("sidecar", "health_port") == "HORAE_SIDECAR__HEALTH_PORT"
        assert found.origin("store", "url") == ""

    def test_the_secrets_directory_may_be_named_in_the_dotenv_file(self, project: Path) -> None:
        (project / "private").mkdir()
        (project / "private/HORAE_NAMESPACE").write_text("two\n")
        (project / ".env").write_text("HORAE_SECRETS_DIR=private\n")
        assert load(project, {}).namespace == "two"

    def test_a_table_is_put_together_from_all_of_them(self, project: Path, secrets: Path) -> None:
        (project / "horae.toml").write_text('[store]\nurl = "redis://db"\nusername = "u"\n')
        (secrets / "HORAE_STORE__PASSWORD").write_text("s3cret\n")
        found = load(project, {"HORAE_SECRETS_DIR": str(secrets), "HORAE_STORE__KEEP_LOG_LINES": "7"}).store
        assert found.password
        assert (found.username, found.password.get_secret_value(), found.keep_log_lines) == ("u", "s3cret", 7)

    def test_a_dotenv_file_has_quotes_comments_exports_and_lines_of_others(self, project: Path) -> None:
        text = "# of the store\nexport HORAE_STATE_DIR='a b' # here\nDATABASE_URL=x://y\nHORAE_NAMESPACE=\"two\"\n"
        (project / ".env").write_bytes(b"\xef\xbb\xbf" + text.encode())
        found = load(project, {})
        assert (found.state_dir, found.namespace) == ("a b", "two")
        assert found.origin("namespace") == ".env:4"

    def test_a_virtual_environment_called_dotenv_is_no_settings(self, project: Path) -> None:
        (project / ".env").mkdir()
        assert load(project, {}).namespace == "horae"

    def test_lists_are_separated_by_colons_or_json(self, project: Path) -> None:
        assert load(project, {"HORAE_REPOS": "a:b::c"}).repos == ("a", "b", "c")
        assert load(project, {"HORAE_REPOS": '["a:b"]'}).repos == ("a:b",)
        assert load(project, {"HORAE_REPOS": ""}).repos == ()

    def test_settings_of_a_job_stay_text_unless_they_are_json(self, project: Path) -> None:
        given = {"HORAE_JOBS__BACKUP__NUMBER": "007", "HORAE_JOBS__BACKUP__FILES": '["a", "b"]'}
        assert load(project, given).jobs == {"backup": {"number": "007", "files": ["a", "b"]}}

    def test_a_table_may_be_json(self, project: Path) -> None:
        given = {"HORAE_STORE": '{"port": 1, "keep_log_lines": 2}', "HORAE_STORE__PORT": "3"}
        found = load(project, given).store
        assert (found.port, found.keep_log_lines) == (3, 2)

    def test_prefects_own_variables_hold_where_nothing_else_is_set(self, project: Path) -> None:
        (project / ".env").write_text("PREFECT_API_URL=http://file/api\n")
        for environment, expected in (
            ({}, "http://file/api"),
            ({"PREFECT_API_URL": "http://shell/api"}, "http://shell/api"),
            ({"PREFECT_API_URL": "http://shell/api", "HORAE_PREFECT__API_URL": "http://own/api"}, "http://own/api"),
        ):
            url = load(project, environment).prefect.api_url
            assert url
            assert url.get_secret_value() == expected

    def test_what_kubernetes_sets_for_services_of_that_name_is_no_setting(self, project: Path) -> None:
        services = {
            "HORAE_SERVICE_HOST": "10.0.0.1",
            "HORAE_SERVICE_PORT": "80",
            "HORAE_SERVICE_PORT_HTTP": "80",
            "HORAE_PORT": "tcp://10.0.0.1:80",
            "HORAE_PORT_80_TCP": "tcp://10.0.0.1:80",
            "HORAE_PORT_80_TCP_PROTO": "tcp",
            "HORAE_PORT_80_TCP_PORT": "80",
            "HORAE_PORT_80_TCP_ADDR": "10.0.0.1",
            "HORAE_STORE_SERVICE_HOST": "10.0.0.2",
            "HORAE_STORE_PORT": "tcp://10.0.0.2:6379",
        }
        assert load(project, services).store.port == 0

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("HORAE_STORE_PORT", "6379", "unknown setting 'HORAE_STORE_PORT', did you mean 'HORAE_STORE__PORT'?"),
            ("HORAE_STROE__URL", "redis://u:s3cret@db", "did you mean 'HORAE_STORE__URL'?"),
            ("HORAE_STORE__ULR", "redis://u:s3cret@db", "did you mean 'HORAE_STORE__URL'?"),
            ("HORAE_PROJECT", "/", "unknown setting 'HORAE_PROJECT'"),
            ("HORAE_STORE__URL__X", "s3cret", "unknown setting 'HORAE_STORE__URL__X'"),
            ("HORAE_", "s3cret", "unknown setting 'HORAE_'"),
            ("HORAE_STORE", "s3cret", "HORAE_STORE is a table; set HORAE_STORE__NAME"),
            ("HORAE_JOBS__BACKUP", "s3cret", "unknown setting 'HORAE_JOBS__BACKUP'"),
            ("HORAE_STORE", '{"ulr": "s3cret"}', "unknown setting 'ulr', did you mean 'url'?"),
            ("HORAE_JOBS__BACKUP__FILES", "[" * 900 + "]" * 900, "more than 20 levels of nesting"),
            ("HORAE_STORE__PORT", "s3cret", "store.port: Input should be a valid integer"),
            ("HORAE_STORE__KEEP_RUNS_DAYS", "inf", "store.keep_runs_days: Input should be a finite number"),
            ("HORAE_STORE__KEEP_RUNS_DAYS", "1e300", "store.keep_runs_days: Input should be less than"),
            ("HORAE_STORE__PORT", "9" * 5000, "store.port: "),
            ("HORAE_REPOS", "[" * 100_000, ""),
        ],
    )
    @pytest.mark.parametrize("source", ["environment", "file", "secret"])
    def test_a_mistake_names_its_place(
        self, project: Path, secrets: Path, source: str, name: str, value: str, said: str
    ) -> None:
        environment = {"HORAE_SECRETS_DIR": str(secrets)}
        where = {"environment": name, "file": ".env:2", "secret": str(secrets / name)}[source]
        if source == "environment":
            environment[name] = value
        elif source == "file":
            (project / ".env").write_text(f"OTHER=1\n{name}='{value}'\n")
        else:
            (secrets / name).write_text(value)
        if not said:
            load(project, environment)
            return
        with pytest.raises(InvalidSettings) as refused:
            load(project, environment)
        assert said in refused.value.message
        assert f"({where}" in refused.value.message
        assert "s3cret" not in refused.value.message
        assert refused.value.__cause__ is None

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("HORAE_STORE__PORT", ".env:1: this line is not of the form NAME=value"),
            ("HORAE_STATE_DIR='a", ".env:1: this line is not of the form NAME=value"),
        ],
    )
    def test_a_line_that_cannot_be_read(self, project: Path, line: str, said: str) -> None:
        (project / ".env").write_text(line + "\n")
        with pytest.raises(InvalidSettings, match=re.escape(said)):
            load(project, {})

    def test_a_secrets_directory_that_is_not_there_is_named(self, project: Path) -> None:
        with pytest.raises(InvalidSettings, match="HORAE_SECRETS_DIR='/nowhere': No such file"):
            load(project, {"HORAE_SECRETS_DIR": "/nowhere"})

    @pytest.mark.parametrize("name", ["horae.toml", ".env"])
    def test_a_file_that_is_not_utf_8_is_named(self, project: Path, name: str) -> None:
        (project / name).write_bytes("namespace = 'é'".encode("utf-16"))
        with pytest.raises(InvalidSettings, match=rf"{name}: it is not UTF-8 text"):
            load(project, {})

    def test_a_byte_order_mark_is_no_mistake(self, project: Path) -> None:
        (project / "horae.toml").write_bytes(b"\xef\xbb\xbfnamespace = 'two'\n")
        assert load(project, {}).namespace == "two"


def test_settings_made_by_hand_hold_what_they_are_given(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORAE_NAMESPACE", "elsewhere")
    assert Settings(project=project).namespace == "horae"


def test_no_url_is_shown(project: Path) -> None:
    given = {
        "HORAE_PREFECT__API_URL": "https://u:s3cret@prefect/api",
        "HORAE_STORE__URL": "redis://u:s3cret@db",
        "HORAE_QUEUE__REDIS_URL": "redis://u:s3cret@queue",
    }
    assert "s3cret" not in repr(load(project, given)) + str(load(project, given))
