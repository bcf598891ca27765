"""How secrets look: the forms that providers document, and values that are given to names such as `password`."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from infra._scan.finding import Severity

HIGH, MEDIUM, LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    name: str
    what: str
    """In words, for messages."""
    pattern: re.Pattern[str]
    """The secret is the group `secret`, or the whole match if there is no such group."""
    hints: tuple[str, ...]
    """A line without any of them, in lower case, cannot match."""
    severity: Severity = HIGH


def _rule(name: str, what: str, pattern: str, *hints: str, severity: Severity = HIGH) -> Rule:
    return Rule(name=name, what=what, pattern=re.compile(pattern), hints=hints, severity=severity)


RULES = (
    _rule(
        "private-key",
        "a private key",
        r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |PGP )?PRIVATE KEY(?: BLOCK)?-----",
        "private key",
        severity=Severity.CRITICAL,
    ),
    _rule("age-key", "a private key of age", r"AGE-SECRET-KEY-1[0-9A-Z]{58}", "age-secret", severity=Severity.CRITICAL),
    _rule("aws-key", "an AWS access key", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b", "akia", "asia"),
    _rule("aws-secret", "an AWS secret key", r"(?i)aws.{0,30}?['\"=:\s](?P<secret>[A-Za-z0-9/+]{40})(?![\w/+])", "aws"),
    _rule(
        "github-token", "a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"
    ),
    _rule("github-token", "a GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{60,255}\b", "github_pat_"),
    _rule("gitlab-token", "a GitLab token", r"\bgl(?:pat|dt|rt|ptt)-[\w-]{20,}", "glpat-", "gldt-", "glrt-", "glptt-"),
    _rule("slack-token", "a Slack token", r"\bxox[abeprs]-[\w-]{10,}", "xox"),
    _rule("slack-webhook", "a Slack webhook", r"https://hooks\.slack\.com/services/T\w+/B\w+/\w{20,}", "hooks.slack"),
    _rule(
        "discord-webhook", "a Discord webhook", r"https://discord(?:app)?\.com/api/webhooks/\d+/[\w-]{60,}", "webhooks"
    ),
    _rule("stripe-key", "a Stripe key", r"\b[sr]k_live_[0-9A-Za-z]{20,}", "k_live_"),
    _rule("google-key", "a Google API key", r"\bAIza[\w-]{35}(?![\w-])", "aiza"),
    _rule("openai-key", "an OpenAI key", r"\bsk-[\w-]{20,}T3BlbkFJ[\w-]{20,}", "t3blbkfj"),
    _rule("anthropic-key", "an Anthropic key", r"\bsk-ant-\w+-[\w-]{80,}", "sk-ant-"),
    _rule("npm-token", "an npm token", r"\bnpm_[A-Za-z0-9]{36}\b", "npm_"),
    _rule("pypi-token", "a PyPI token", r"\bpypi-AgE[\w-]{50,}", "pypi-age"),
    _rule("sendgrid-key", "a SendGrid key", r"\bSG\.[\w-]{22}\.[\w-]{43}\b", "sg."),
    _rule("twilio-key", "a Twilio key", r"\bSK[0-9a-f]{32}\b", "sk"),
    _rule("telegram-token", "a Telegram bot token", r"\b\d{8,10}:AA[\w-]{33}\b", ":aa"),
    _rule("azure-key", "an Azure storage key", r"AccountKey=(?P<secret>[A-Za-z0-9+/]{86}==)", "accountkey="),
    _rule("vault-token", "a Vault token", r"\bhv[sb]\.[\w-]{24,}", "hvs.", "hvb."),
    _rule("digitalocean-token", "a DigitalOcean token", r"\bdo[opr]_v1_[0-9a-f]{64}\b", "_v1_"),
    _rule("huggingface-token", "a Hugging Face token", r"\bhf_[A-Za-z]{34}\b", "hf_"),
    _rule("databricks-token", "a Databricks token", r"\bdapi[0-9a-f]{32}\b", "dapi"),
    _rule("jwt", "a JSON web token", r"\beyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20,}", "eyj", severity=MEDIUM),
    _rule(
        "url-password",
        "a password in a URL",
        r"\b[a-z][a-z0-9+.-]{1,30}://[^\s:/@'\"<>{}$]{0,100}:(?P<secret>[^\s:/@'\"<>{}$]{4,200})@[\w.\[-]",
        "://",
        severity=MEDIUM,
    ),
    _rule(
        "assigned-secret",
        "a value that looks like a secret",
        r"(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)s?"
        r"['\"]?\]?\s*(?::=|[:=])\s*['\"](?P<secret>[^'\"\s]{12,200})['\"]",
        *("passw", "passphrase", "secret", "token", "key", "credential"),
        severity=MEDIUM,
    ),
)
GUESSED = {"url-password", "assigned-secret"}
"""Rules that guess. They ignore obvious placeholders."""
PLACEHOLDER = re.compile(
    r"(?i)example|placeholder|changeme|change-me|dummy|sample|your[_-]|redacted|xxxx|\*\*\*|\.\.\.|"
    r"^(?:password|passwd|secret|pass|user|token|test|foobar)$|[$%]\(|\$\{|\{\{|\{\w*\}|<\w+>|^\$|%s|%\w"
)
ALLOWED = re.compile(r"(?i)pragma: allowlist secret|gitleaks:allow|horae: no secret")
"""A line with such a comment is not reported."""
ENTROPY_BITS = 3.3
LINE_LIMIT = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    rule: Rule
    secret: str
    """Never shown."""


def search(line: str) -> Iterator[Hit]:
    """The secrets in a line of text, each once."""
    lowered = line.lower()
    taken: set[str] = set()
    for rule in RULES:
        if not any(hint in lowered for hint in rule.hints):
            continue
        for match in rule.pattern.finditer(line):
            secret = match["secret"] if "secret" in match.groupdict() else match[0]
            if secret in taken or _is_placeholder(rule, secret):
                continue
            taken.add(secret)
            yield Hit(rule=rule, secret=secret)


def _is_placeholder(rule: Rule, secret: str) -> bool:
    if rule.name not in GUESSED:
        return secret.endswith("EXAMPLE") or (rule.name == "aws-secret" and entropy(secret) < ENTROPY_BITS)
    if PLACEHOLDER.search(secret):
        return True
    mixed = any(c.isdigit() for c in secret) and any(c.isalpha() for c in secret)
    return rule.name == "assigned-secret" and (not mixed or entropy(secret) < ENTROPY_BITS)


def entropy(text: str) -> float:
    """Bits a character, by Shannon."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0
