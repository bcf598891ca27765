"""Removes user and password from URLs, for display and for clients that take the login separately."""

from urllib.parse import SplitResult, unquote, urlsplit

UNREADABLE = "an address that cannot be read"


def shown(url: str) -> str:
    """The URL without user, password, query and fragment, safe to show and to log."""
    try:
        parts = urlsplit(url)
        place = _place(parts)
    except ValueError:
        return UNREADABLE
    return f"{parts.scheme}://{place}{parts.path}" if parts.scheme and place else UNREADABLE


def cleaned(text: str, url: str) -> str:
    """`text` with every copy of the URL replaced by its safe form, and without the URL's password."""
    text = text.replace(url, shown(url))
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    for secret in {password, unquote(password)} if password else ():
        text = text.replace(secret, "***")
    return text


def without_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without user and password, and (user, password), or None if it has no user.

    Raises ValueError for a wrong port.
    """
    parts = urlsplit(url)
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username is not None else None
    return parts._replace(netloc=_place(parts)).geturl(), login


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port}" if parts.port is not None else host
