"""Addresses: what they mean, what is refused and how it is said, and that no password is ever shown."""

import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horae.errors import InvalidSettings
from horae.redis.access import RedisAccess
from horae.redis.address import SCHEMES, Kind, parse, shown
from horae.redis.clients import open_blocking_client, open_client
from horae.settings import load

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "kind", "tls", "hosts", "database", "as_shown"),
    [
        ("redis://", Kind.SERVER, False, [("localhost", 6379)], 0, "redis://localhost:6379/0"),
        ("redis://db", Kind.SERVER, False, [("db", 6379)], 0, "redis://db:6379/0"),
        ("redis://:6380/3", Kind.SERVER, False, [("localhost", 6380)], 3, "redis://localhost:6380/3"),
        ("redis://db?db=2", Kind.SERVER, False, [("db", 6379)], 2, "redis://db:6379/2"),
        ("rediss://u:s3cret@db:1/0", Kind.SERVER, True, [("db", 1)], 0, "rediss://db:1/0"),
        ("redis://[::1]:7/1", Kind.SERVER, False, [("::1", 7)], 1, "redis://[::1]:7/1"),
        ("unix:///run/valkey.sock?db=1", Kind.SOCKET, False, [], 1, "unix:///run/valkey.sock?db=1"),
        ("redis+sentinel://a,b:2/horae", Kind.SENTINEL, False, [("a", 26379), ("b", 2)], 0, None),
        ("rediss+sentinel://u:s3cret@a/horae/4", Kind.SENTINEL, True, [("a", 26379)], 4, None),
        ("redis+cluster://a,[::1]:2", Kind.CLUSTER, False, [("a", 6379), ("::1", 2)], 0, "redis+cluster://a:6379,[::1]:2"),
        ("rediss+cluster://a/0", Kind.CLUSTER, True, [("a", 6379)], 0, "rediss+cluster://a:6379"),
    ],
)  # fmt: skip
def test_an_address_says_where_and_how(
    url: str, kind: Kind, tls: bool, hosts: list[tuple[str, int]], database: int, as_shown: str | None
) -> None:
    found = parse(url)
    assert (found.kind, found.tls, list(found.hosts), found.database) == (kind, tls, hosts, database)
    assert shown(url) == (as_shown or str(found))
    assert SECRET not in str(found) + repr(found)
    assert parse(str(found)).hosts == found.hosts


def test_sentinel_names_the_service() -> None:
    found = parse("redis+sentinel://me:s3cret@a,b:2/my%20store/4")
    assert (found.service, found.username, found.password) == ("my store", "me", SECRET)
    assert str(found) == "redis+sentinel://a:26379,b:2/my store/4"


BAD = {
    "s3cret": "no ://",
    "localhost:6379": "no ://",
    "reddis://:s3cret@db": "did you mean 'redis'",
    "redis+sentinels://db": "did you mean 'redis+sentinel'",
    "valkey://db": "Known: redis, redis+cluster, redis+sentinel, rediss, rediss+cluster, rediss+sentinel, unix",
    "redis://:s3cret/x@db": "percent-encoded",
    "redis://:s3cret?x@db": "percent-encoded",
    "redis://:s3cret#x@db": "percent-encoded",
    "redis://:s3cret": "HOST or HOST:PORT",
    "redis://user:s3cret:db:6379/0": "HOST or HOST:PORT",
    "redis://db:70000": "HOST or HOST:PORT",
    "redis://db:0": "HOST or HOST:PORT",
    "redis://db/s3cret": "not a number",
    "redis://a,b": "several hosts",
    "redis://db?password=s3cret": "db=NUMBER",
    "rediss://db?ssl_cert_reqs=none": "tls_ca_file",
    "redis://db#s3cret": "contains a #",
    "unix://s3cret": "no socket path",
    "redis+sentinel://a,b": "no service",
    "redis+sentinel://a,s3 cret/horae": "host no. 2",
    "redis+cluster://a/1": "only database 0",
    "redis+cluster://": "HOST or HOST:PORT",
}


@pytest.mark.parametrize("url", list(BAD))
def test_a_bad_address_is_refused_without_what_it_holds(url: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        parse(url)
    assert BAD[url] in refused.value.message
    assert "s3" not in "".join(traceback.format_exception(refused.value))
    assert "s3" not in shown(url)


@given(st.sampled_from(list(SCHEMES)), st.text(min_size=1))
def test_any_password_can_be_written(scheme: str, password: str) -> None:
    rest = {Kind.SOCKET: "/run/s", Kind.SENTINEL: "a/horae"}.get(SCHEMES[scheme][0], "a")
    found = parse(f"{scheme}://me:{quote(password, safe='')}@{rest}")
    assert (found.username, found.password) == ("me", password)


@given(st.sampled_from(list(SCHEMES)), st.text(max_size=3), st.text(max_size=3))
def test_no_password_is_shown_however_it_is_written(scheme: str, before: str, after: str) -> None:
    url = f"{scheme}://:{before}s3cret{after}@a"
    assert SECRET not in shown(url)
    try:
        said = repr(parse(url))
    except InvalidSettings as error:
        said = error.message
    assert SECRET not in said


def project(tmp_path: Path, **variables: str) -> dict[str, str]:
    (tmp_path / "horae.toml").write_text("")
    return {f"HORAE_{name.upper()}": value for name, value in variables.items()}


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"store__url": "redis://db/x"}, "store.url: this redis:// address"),
        (
            {"store__password": SECRET},
            "give url too, or remove password (HORAE_STORE__PASSWORD)",
        ),
        ({"store__url": "redis://:s3cret@db", "store__password": SECRET}, "give only one of them"),
        ({"store__url": "redis://u@db", "store__username": "v"}, "give only one of them"),
        ({"store__url": "redis://db", "store__password": SECRET, "store__password_file": "p"}, "give only one of them"),
        ({"store__url": "redis://db", "store__tls_ca_file": "ca.pem"}, "use rediss://"),
        ({"store__url": "rediss://db", "store__tls_key_file": "k.pem"}, "tls_cert_file is not"),
        ({"store__url": "redis://db", "store__sentinel_password": SECRET}, "use redis+sentinel://"),
        ({"store__passwort": SECRET}, "did you mean 'HORAE_STORE__PASSWORD'? (HORAE_STORE__PASSWORT)"),
        ({"queue__redis_url": "redis://a,b"}, "queue.redis_url: this redis:// address"),
        ({"queue__redis__password": SECRET}, "password is given, but redis_url is not"),
        ({"store__url": "redis://db", "store__password": SECRET, "store__port": "x"}, "store.port"),
    ],
)
def test_settings_that_do_not_fit_are_named_and_not_shown(tmp_path: Path, variables: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(tmp_path, project(tmp_path, **variables))
    assert says in refused.value.message
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_paths_are_relative_to_the_project_and_secrets_stay_hidden(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        project(tmp_path, store__url="rediss://db", store__password_file="secrets/p", store__tls_ca_file="/etc/ca.pem")
        | project(tmp_path, queue__redis_url=f"redis://:{SECRET}@q", queue__redis__username="me"),
    )
    assert found.store.password_file == tmp_path / "secrets/p"
    assert found.store.tls_ca_file == Path("/etc/ca.pem")
    assert SECRET not in repr(found)
    assert SECRET not in found.model_dump_json()
    assert RedisAccess.model_validate(found.store.plain).given == found.store.given


async def test_no_client_shows_its_password() -> None:
    for url in (f"redis://me:{SECRET}@db", f"redis+cluster://me:{SECRET}@db", f"unix://me:{SECRET}@/run/s"):
        client = open_client(url, RedisAccess(), "{t}:", timeout_seconds=1)
        blocking = open_blocking_client(url, RedisAccess(), "{t}:", timeout_seconds=1)
        for one in (client, client.connection_pool, client.connection_pool.make_connection(), blocking):
            assert SECRET not in repr(one)
        assert SECRET not in repr(client.connection_pool.connection_kwargs)
        await client.aclose()
        blocking.close()


@pytest.mark.parametrize("path", ["/" + "x" * 107, "/" + "é" * 54, "/a%00b"])
def test_a_path_that_no_socket_can_have_is_refused(path: str) -> None:
    with pytest.raises(InvalidSettings, match="107 bytes"):
        parse(f"unix://{path}")
    assert parse("unix:///" + "x" * 106).path == "/" + "x" * 106
