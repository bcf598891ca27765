"""Which text is a secret. Each example is put together here, so that this file holds none."""

import pytest

from infra._scan.secret_rules import RULES, entropy, search

MIXED = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fL"
SECRETS = {
    "private-key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "age-key": "AGE-SECRET-" + "KEY-1" + "Q" * 58,
    "aws-key": "AK" + "IAQ3EGRS4MPL5ZXCVB",
    "aws-secret": "aws_secret_access_key = " + (MIXED + MIXED)[:40],
    "github-token": "gh" + "p_" + (MIXED + MIXED)[:36],
    "gitlab-token": "gl" + "pat-" + MIXED[:20],
    "slack-token": "xo" + "xb-1234567890-" + MIXED,
    "slack-webhook": "https://hooks." + "slack.com/services/T0/B0/" + MIXED,
    "discord-webhook": "https://discord.com/api/" + "webhooks/1/" + MIXED + MIXED,
    "stripe-key": "sk_" + "live_" + MIXED,
    "google-key": "AI" + "za" + (MIXED + MIXED)[:35],
    "openai-key": "sk" + "-" + MIXED + "T3Blbk" + "FJ" + MIXED,
    "anthropic-key": "sk-" + "ant-api03-" + MIXED * 3,
    "npm-token": "np" + "m_" + (MIXED + MIXED)[:36],
    "pypi-token": "pypi" + "-AgE" + MIXED * 2,
    "sendgrid-key": "S" + "G." + MIXED[:22] + "." + (MIXED + MIXED)[:43],
    "twilio-key": "S" + "K" + "0123456789abcdef" * 2,
    "telegram-token": "123456789" + ":AA" + (MIXED + "x")[:33],
    "azure-key": "Account" + "Key=" + (MIXED * 3)[:86] + "==",
    "vault-token": "hv" + "s." + MIXED,
    "digitalocean-token": "do" + "p_v1_" + "0123456789abcdef" * 4,
    "huggingface-token": "h" + "f_" + "abcdefghijklmnopqABCDEFGHIJKLMNOPQ",
    "databricks-token": "da" + "pi" + "0123456789abcdef" * 2,
    "jwt": "ey" + "J" + MIXED + ".ey" + "J" + MIXED + "." + MIXED,
    "url-password": "postgresql://shop:" + "x9Kq27Lm" + "@db.internal/shop",
    "assigned-secret": "db_password = '" + MIXED + "'",
}


@pytest.mark.parametrize("name", SECRETS)
def test_each_form_is_found_wherever_it_stands_in_a_line(name: str) -> None:
    assert [hit.rule.name for hit in search(f"key: {SECRETS[name]}  # ours")][:1] == [name]


def test_every_rule_has_an_example() -> None:
    assert {rule.name for rule in RULES} == SECRETS.keys()


@pytest.mark.parametrize(
    "line",
    [
        'password = os.environ["SHOP_PASSWORD_OF_PRODUCTION"]',
        'password = "changeme-please-1"',
        "token: '${{ secrets.GITHUB_TOKEN }}'",
        'secret = "<your-secret-here-1>"',
        "postgresql://user:${PASSWORD}@db/shop",
        "postgresql://user:password@db/shop",
        "https://example.org/a:b@c",
        'token_count = "1 000 000 000 000"',
        'password_field = "passwordpassword"',
        "the private key is kept elsewhere",
        "AKIAIOSFODNN7" + "EXAMPLE",
    ],
)
def test_what_is_plainly_none_is_not_found(line: str) -> None:
    assert list(search(line)) == []


def test_one_secret_is_one_hit() -> None:
    assert len(list(search(f'github_token = "{SECRETS["github-token"]}"'))) == 1


def test_entropy() -> None:
    assert entropy("") == entropy("aaaa") == 0
    assert entropy("abcd") == 2
