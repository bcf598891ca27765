"""Loopback servers that the dependency audit asks: OSV's API over given records, and registries as files."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flows._audit import osv
from flows._audit.package import Ecosystem, package


def record(
    id: str, ecosystem: str, name: str, *events: dict[str, str], modified: str = "2026-11-20T00:00:00Z", **more: Any
) -> dict[str, Any]:
    """An OSV record of one package."""
    kind = "ECOSYSTEM" if ecosystem == "PyPI" else "SEMVER"
    about = {"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": kind, "events": list(events)}]}
    return {"id": id, "modified": modified, "affected": [about], **more}


JINJA = record(
    "PYSEC-2021-66",
    "PyPI",
    "Jinja2",
    {"introduced": "0"},
    {"fixed": "2.11.3"},
    aliases=["CVE-2020-28493", "GHSA-g3rq-g295-4j3m"],
    details="Regular expression denial of service in the urlize filter",
)
JINJA_GHSA = record(
    "GHSA-g3rq-g295-4j3m",
    "PyPI",
    "jinja2",
    {"introduced": "0"},
    {"fixed": "2.11.3"},
    aliases=["CVE-2020-28493"],
    summary="Regular Expression Denial of Service (ReDoS) in Jinja2",
    severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L"}],
)
LODASH = record(
    "GHSA-jf85-cpcp-j695",
    "npm",
    "lodash",
    {"introduced": "0"},
    {"fixed": "4.17.12"},
    aliases=["CVE-2019-10744"],
    summary="Prototype Pollution in lodash",
    severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:H"}],
)
CRYPTO = record(
    "GO-2021-0356", "Go", "golang.org/x/crypto", {"introduced": "0"}, {"fixed": "0.0.0-20220314234659-1baeb1ce4c0b"}
)
SMALLVEC = record(
    "RUSTSEC-2018-0003", "crates.io", "smallvec", {"introduced": "0.3.2"}, {"fixed": "0.6.3"}, {"introduced": "0.6.3"},
    {"fixed": "0.6.10"},
)  # fmt: skip
RECORDS = (JINJA, JINJA_GHSA, LODASH, CRYPTO, SMALLVEC)


@contextmanager
def osv_server(*records: dict[str, Any], page_size: int = 1) -> Iterator[str]:
    """The URL of an OSV API that knows these records and tells `page_size` of them at a time."""
    by_id = {one["id"]: one for one in records}

    def answer(path: str, body: Any) -> Any:
        if path.startswith("/v1/vulns/"):
            return by_id.get(path.rpartition("/")[2])
        if path != "/v1/querybatch":
            return None
        return {"results": [_matches(records, query, page_size) for query in body["queries"]]}

    with _server(answer) as url:
        yield url


def _matches(records: tuple[dict[str, Any], ...], query: dict[str, Any], page_size: int) -> dict[str, Any]:
    about = query["package"]
    one = package(Ecosystem(about["ecosystem"]), about["name"], query["version"])
    found = [{"id": each["id"], "modified": each["modified"]} for each in records if osv.affects(each, one)]
    start = int(query.get("page_token", 0))
    page: dict[str, Any] = {"vulns": found[start : start + page_size]} if found else {}
    return page | ({"next_page_token": str(start + page_size)} if len(found) > start + page_size else {})


@contextmanager
def registry(files: dict[str, Any]) -> Iterator[str]:
    """The URL of a server of these documents, by path: text, or what becomes JSON."""
    with _server(lambda path, _: files.get(path)) as url:
        yield url


@contextmanager
def _server(answer: Any) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(answer(self.path, None))

        def do_POST(self) -> None:
            self._send(answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def _send(self, found: Any) -> None:
            body = b"" if found is None else (found if isinstance(found, str) else json.dumps(found)).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
