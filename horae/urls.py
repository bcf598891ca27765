"""URLs may hold a user and a password: how they are shown, and how the login is taken out of them."""

from urllib.parse import SplitResult, unquote, urlsplit

UNREADABLE = "an address that cannot be read"


def shown(url: str) -> str:
    """A URL as it may be shown and logged: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        place = _place(parts)
    except ValueError:
        return UNREADABLE
    return f"{parts.scheme}://{place}{parts.path}" if parts.scheme and place else UNREADABLE


def cleaned(text: str, url: str) -> str:
    """A text that may quote the URL, with the URL as it may be shown and without its password."""
    text = text.replace(url, shown(url))
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    for secret in {password, unquote(password)} if password else ():
        text = text.replace(secret, "***")
    return text


def without_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """A URL without its user and password, and these; None without a user. Raises ValueError for a wrong port."""
    parts = urlsplit(url)
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username is not None else None
    return parts._replace(netloc=_place(parts)).geturl(), login


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port}" if parts.port is not None else host
