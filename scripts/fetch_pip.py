"""Download pip's wheel to the given path, for a Python without pip and venv. Runs on Python 3.8 and newer.

Reads the package index that pip itself would use: PIP_INDEX_URL, or pip's configuration files, or PyPI.
"""

import configparser
import hashlib
import os
import re
import sys
import urllib.parse
import urllib.request

# The last pip that supports Python 3.8. It can install a wheel on newer versions too.
WHEEL = "pip-25.0.1-py3-none-any.whl"
SHA256 = "c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f"
CONFIGS = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", "~/Library/Application Support/pip/pip.conf")


def index_url() -> str:
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    config = configparser.RawConfigParser()
    config.read([os.path.expanduser(path) for path in (*CONFIGS, os.environ.get("PIP_CONFIG_FILE", ""))])
    return config.get("global", "index-url", fallback="https://pypi.org/simple")


def main(target: str) -> None:
    page = index_url().rstrip("/") + "/pip/"
    with urllib.request.urlopen(page, timeout=60) as answer:
        text, base = answer.read().decode(), answer.geturl()
    links = [link for link in re.findall(r'href="([^"]+)"', text) if WHEEL in link]
    if not links:
        sys.exit(f"{page} does not have {WHEEL}")
    with urllib.request.urlopen(urllib.parse.urljoin(base, links[0]), timeout=60) as answer:
        wheel = answer.read()
    if hashlib.sha256(wheel).hexdigest() != SHA256:
        sys.exit(f"{links[0]} does not have the expected checksum of {WHEEL}")
    with open(target, "wb") as file:
        file.write(wheel)


if __name__ == "__main__":
    main(sys.argv[1])
