"""Which providers are configured, and what is said of one that is not."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Never

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from horae.errors import InvalidSettings, NotConfigured, StartError, UnknownName
from horae.queues.base import Capabilities, Ordering, Provider
from horae.queues.configured import Configured, configured, with_settings
from horae.queues.nats.embedded import server
from horae.queues.routing import Router
from horae.settings import QueueSettings, Settings, load


class PigeonSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    birds: int = 1


def _not_installed(*arguments: Any) -> Never:
    raise ModuleNotFoundError("No module named 'pigeons'")


PIGEON: Provider[Any, Any] = Provider(
    name="pigeon",
    title="Pigeons",
    use_when="Nothing else is left",
    settings=PigeonSettings,
    capabilities=Capabilities(
        redelivers_for=timedelta(days=1), native_schedules=None, priorities=False, ordering=Ordering.NONE
    ),
    missing=lambda settings, table: "" if table.url else "queue.pigeon.url",
    open_publisher=_not_installed,
    open_consumer=_not_installed,
    extra="pigeon",
)


def pigeon(**table: Any) -> Configured:
    return with_settings(PIGEON, Settings(queue=QueueSettings.model_validate({"pigeon": table})))


def test_a_table_is_read_as_the_model_of_its_provider() -> None:
    found = pigeon(url="coo://loft", password="s3cret", birds="7", ca_file="ca.pem").table
    assert isinstance(found, PigeonSettings)
    assert (found.url, found.birds, found.ca_file) == ("coo://loft", 7, Path("ca.pem"))
    assert found.password == SecretStr("s3cret")


def test_paths_are_relative_to_the_project(project: Path) -> None:
    (project / "horae.toml").write_text("[queue.pigeon]\nca_file = 'ca.pem'\n")
    table = with_settings(PIGEON, load(project, {"HORAE_QUEUE__PIGEON__BIRDS": "3"})).table
    assert isinstance(table, PigeonSettings)
    assert (table.ca_file, table.birds) == (project.resolve() / "ca.pem", 3)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"ulr": "x"},
            "did you mean 'url'? Known: birds, ca_file, password, url. (horae.toml in [queue.pigeon])",
        ),
        ({"birds": "many"}, "queue.pigeon.birds: Input should be a valid integer"),
    ],
)
def test_a_wrong_table_is_told_with_where_it_stands(table: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(said)):
        pigeon(**table)


def test_a_wrong_value_is_told_with_the_line_or_variable_it_stands_in(project: Path) -> None:
    (project / "horae.toml").write_text("[queue.pigeon]\nurl = 'coo://loft'\nbirds = 'many'\n")
    with pytest.raises(InvalidSettings, match=r"queue\.pigeon\.birds: .* \(horae\.toml:3\)"):
        with_settings(PIGEON, load(project, {}))
    with pytest.raises(InvalidSettings, match=r"queue\.pigeon\.birds: .* \(HORAE_QUEUE__PIGEON__BIRDS\)"):
        with_settings(PIGEON, load(project, {"HORAE_QUEUE__PIGEON__BIRDS": "lots"}))


def test_a_table_that_no_provider_reads_is_refused() -> None:
    settings = Settings(queue=QueueSettings.model_validate({"reddis": {"url": "x"}}))
    with pytest.raises(
        InvalidSettings, match=r"\[queue\.reddis\]: unknown queue provider 'reddis', did you mean 'redis'\?"
    ):
        configured(settings)


def test_a_word_that_is_no_table_is_an_unknown_setting(project: Path) -> None:
    (project / "horae.toml").write_text("[queue]\nprovdier = 'redis'\n")
    with pytest.raises(InvalidSettings, match=r"unknown setting 'provdier', did you mean 'provider'\?.*in \[queue\]\)"):
        load(project, {})


def test_without_any_server_nothing_is_configured_and_the_setting_is_named() -> None:
    assert configured(Settings()) == []
    with pytest.raises(NotConfigured) as refused:
        Router(Settings(), [])
    assert refused.value.message == (
        "queue provider 'redis' is not configured: give redis_url in [queue] of horae.toml, or HORAE_QUEUE__REDIS_URL"
    )


def test_a_router_names_the_setting_of_what_is_not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("horae.queues.configured.provider", {"pigeon": PIGEON}.__getitem__)
    settings = Settings(queue=QueueSettings.model_validate({"redis_url": "redis://127.0.0.1:1/0"}))
    router = Router(settings, configured_redis(settings))
    with pytest.raises(NotConfigured) as refused:
        router.known("pigeon")
    assert refused.value.message == (
        "queue provider 'pigeon' is not configured: give url in [queue.pigeon] of horae.toml, or "
        "HORAE_QUEUE__PIGEON__URL; configured: redis"
    )
    assert refused.value.setting == "queue.pigeon.url"


def configured_redis(settings: Settings) -> list[Configured]:
    from horae.queues.redis import PROVIDER

    return [with_settings(PROVIDER, settings)]


def test_a_router_says_why_a_provider_cannot_be_used() -> None:
    settings = Settings(queue=QueueSettings.model_validate({"redis_url": "redis://127.0.0.1:1/0"}))
    router = Router(settings, configured_redis(settings))
    with pytest.raises(UnknownName, match="unknown queue provider 'pigeon'"):
        router.known("pigeon")
    assert router.refusal("redis") == ""
    assert router.refusal("pigeon").startswith("unknown queue provider 'pigeon'")
    assert "give url in [queue.nats]" in router.refusal("nats")


def test_a_library_that_is_not_installed_is_named_with_its_extra() -> None:
    for opening in (pigeon(url="x").open_publisher, lambda: pigeon(url="x").open_consumer("w1")):
        with pytest.raises(
            InvalidSettings, match=r"not installed \(No module named 'pigeons'\): install horae\[pigeon\]"
        ):
            opening()


def test_an_embedded_nats_server_needs_no_url_and_has_a_token_of_its_own(tmp_path: Path) -> None:
    settings = Settings(
        project=tmp_path, state_dir="state", queue=QueueSettings.model_validate({"nats": {"embedded": True}})
    )
    settings.state.mkdir()
    [nats] = [one for one in configured(settings) if one.name == "nats"]
    found = nats.embedded()
    assert found
    assert (found.port, found.setting) == (4222, "queue.nats.embedded_port")
    token = (tmp_path / "state/nats/token").read_text()
    nats.embedded()
    assert (tmp_path / "state/nats/token").read_text() == token, "it stays the same"
    assert token.strip() not in str(found), "all users of the machine can read command lines"


@pytest.mark.parametrize(
    ("key", "value"), [("url", "nats://127.0.0.1:4222"), ("token_file", "token"), ("tls_ca_file", "ca.pem")]
)
def test_an_embedded_server_has_an_address_and_a_login_of_its_own(key: str, value: str) -> None:
    table = {"embedded": True, key: value}
    with pytest.raises(InvalidSettings, match=f"{key} and embedded are both given"):
        configured(Settings(queue=QueueSettings.model_validate({"nats": table})))


def test_a_token_that_is_not_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats/token").write_text("")
    with pytest.raises(StartError, match="does not have the content that Horae wrote"):
        server(tmp_path, 4222)
