"""Settings: a mistake is told with where it stands, and is no surprise later."""

from pathlib import Path

import pytest

from horae.errors import InvalidSettings
from horae.settings import load


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repos = 5", r'repos: .* a list, such as \["\."\] \(repos of horae\.toml, or HORAE_REPOS\)'),
        ("repos = [5]", r"valid string \(repos of horae\.toml"),
        ('[store]\nport = "x"', r"store\.port: .*\(port in \[store\] of horae\.toml, or HORAE_STORE__PORT\)"),
        (
            '[store]\nurl = "http://u:secret@x"',
            r"store\.url: unknown scheme .* 'http'\. Known: redis, .*url in \[store\] ",
        ),
        ('[store]\nurl = ""', "this one has no ://"),
        ('[store]\nurl = "redis://u:secret@x:70000/0"', "its host is not HOST or HOST:PORT"),
        ('[queue]\nredis_url = "amqp://x"', r"queue\.redis_url: unknown scheme .* 'amqp'"),
        ('[prefect]\napi_url = "127.0.0.1:4200/api"', r"prefect\.api_url: .*http://, https:// is wanted"),
        ("nonsense = 1", "unknown setting 'nonsense'"),
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
