"""A URL is shown without what may be secret, and its login can be taken out."""

import pytest

from horae.urls import cleaned, shown, without_login


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("https://u:s3cret@prefect/api", "https://prefect/api"),
        ("https://s3cret@prefect:1/api?key=s3cret#s3cret", "https://prefect:1/api"),
        ("postgresql://u:s3cret@[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("https://u:s3cret@prefect:99999/api", "an address that cannot be read"),
        ("https://[s3cret/api", "an address that cannot be read"),
        ("u:s3cret@prefect", "an address that cannot be read"),
        ("s3cret", "an address that cannot be read"),
        ("", "an address that cannot be read"),
    ],
)
def test_what_is_shown(url: str, expected: str) -> None:
    assert shown(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://prefect/api", ("https://prefect/api", None)),
        ("https://u:p%40ss@prefect:1/api", ("https://prefect:1/api", ("u", "p@ss"))),
        ("https://u@[::1]/api?a=b", ("https://[::1]/api?a=b", ("u", ""))),
    ],
)
def test_the_login_is_taken_out(url: str, expected: tuple[str, tuple[str, str] | None]) -> None:
    assert without_login(url) == expected


def test_a_text_is_cleaned_of_the_url_and_of_its_password_in_both_spellings() -> None:
    url = "https://u:s3cr%65t@prefect/api"
    said = cleaned(f"cannot reach {url}: s3cret and s3cr%65t are wrong", url)
    assert said == "cannot reach https://prefect/api: *** and *** are wrong"
