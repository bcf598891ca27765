"""The report as one self-contained HTML page, and as Markdown."""

from html import escape
from typing import Any

from flows._report import svg
from flows._report.figures import OPEN, VERDICTS, JobFigures, percentile
from flows._report.report import Report
from horae.clock import isoformat
from horae.reasons import worded

SHOWN = 100
"""Rows of a table."""
STEADY = 0.1
"""The report calls a p95 steady if it changed by a smaller share."""
STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: .3rem .5rem; border-bottom: 1px solid var(--line); vertical-align: middle; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } td.n { white-space: nowrap; }
.unseen { border-left: 4px solid #e08a1e; background: var(--soft); padding: .6rem 1rem; margin: 1rem 0; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; } .tile { background: var(--soft); padding: .6rem 1rem; }
.tile b { display: block; font-size: 1.4rem; } .bad { color: #d64545; font-weight: 600; }
.key { margin-right: 1rem; } .key i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
svg { width: 100%; height: auto; } svg.spark { width: 110px; height: 26px; }
.spark polyline { fill: none; stroke: #4a90d9; stroke-width: 1.5; } .spark circle { fill: #4a90d9; }
.grid { stroke: #8885; } .axis { font-size: 11px; fill: currentColor; opacity: .75; }
.wide { overflow-x: auto; }
"""


def headline(report: Report) -> str:
    """One sentence. A period without data is reported as such."""
    verdicts = report.verdicts
    if not report.runs:
        return "NO DATA: the ledger has no runs of this period."
    told = ", ".join(f"{verdicts[name]:,} {name}" for name in (*VERDICTS, OPEN) if verdicts[name])
    return f"{report.runs:,} runs: {told}."


def html(report: Report) -> str:
    """The whole page."""
    title = f"{report.since:%Y-%m-%d} to {report.until:%Y-%m-%d}"
    parts = [f"<h1>Jobs, {title}</h1>", f"<p><b>{escape(headline(report))}</b></p>"]
    if report.unseen:
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.unseen[:SHOWN])
        parts.append(f'<div class="unseen"><b>Not checked</b><ul>{items}</ul></div>')
    parts.append(_tiles(report))
    parts.append(f"<h2>Runs a day</h2>{svg.bars(report.days)}<p>{svg.legend()}</p>")
    parts.append(f"<h2>Jobs</h2>{_html_table(_jobs(report))}")
    if rows := _troubles(report):
        parts.append(f"<h2>What did not run, and why</h2>{_html_table(rows)}")
    if rows := _letters(report):
        parts.append(f"<h2>New dead letters</h2>{_html_table(rows)}")
    lines = "".join(f"<li><b>{escape(one.job)}</b>: {escape(one.text)}</li>" for one in report.headlines)
    parts.append(f"<h2>Headlines</h2><ul>{lines}</ul>")
    foot = f"From {isoformat(report.since)} to before {isoformat(report.until)}, by the ledger of Horae. Days are UTC."
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Jobs, {title}</title>'
    body = "\n".join(parts)
    head += f"<style>{STYLE}</style>"
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n{body}\n<p>{foot}</p></body></html>\n"


def markdown(report: Report, page: str) -> str:
    """The report without its plots, for the Prefect UI."""
    parts = [f"**{headline(report)}**", f"# Jobs, {report.since:%Y-%m-%d} to {report.until:%Y-%m-%d}"]
    if report.unseen:
        parts += ["## Not checked", "\n".join(f"- {_cell(sentence)}" for sentence in report.unseen[:SHOWN])]
    late = report.percentiles("lateness")
    letters = report.ledger
    parts.append(
        f"Lateness p50 {_took(late['p50'])}, p95 {_took(late['p95'])}. Dead letters: {len(letters.dead_letters)} new, "
        f"{letters.waiting_letters} waiting. The page with plots: `{_cell(page)}`"
    )
    for title, rows in (("Jobs", _jobs(report)), ("What did not run, and why", _troubles(report))):
        if rows:
            shown = [{name: text for name, text in row.items() if name != "p95 a day"} for row in rows]
            parts.append(f"## {title}\n\n{_markdown_table(shown)}")
    parts += ["## Headlines", "\n".join(f"- {one.job}: {_cell(one.text)}" for one in report.headlines)]
    return "\n\n".join(parts).encode(errors="replace").decode() + "\n"


def _tiles(report: Report) -> str:
    late = report.percentiles("lateness")
    verdicts = report.verdicts
    settled = report.runs - verdicts[OPEN]
    share = f"{100 * verdicts['ran'] / settled:.2f} %" if settled else "-"
    tiles = {
        "runs": f"{report.runs:,}",
        "of them ran": share,
        "failed": f"{verdicts['failed']:,}",
        "missed": f"{verdicts['missed']:,}",
        "lateness p50": _took(late["p50"]),
        "lateness p95": _took(late["p95"]),
        "dead letters, new": f"{len(report.ledger.dead_letters):,}",
        "waiting": f"{report.ledger.waiting_letters:,}",
    }
    return (
        '<div class="tiles">' + "".join(f'<div class="tile"><b>{v}</b>{n}</div>' for n, v in tiles.items()) + "</div>"
    )


def _jobs(report: Report) -> list[dict[str, str]]:
    rows = []
    for one in report.jobs[:SHOWN]:
        fires = f"{one.fires:,}" if one.expected is None else f"{one.fires:,} of {one.expected:,}"
        daily = [percentile(one.days[day].durations, 95) if day in one.days else None for day in report.days]
        rows.append(
            {
                "job": one.job,
                "tier": one.tier,
                "fires": fires,
                **{name: f"{one.verdicts[name]:,}" if one.verdicts[name] else "" for name in VERDICTS},
                "late p95": _took(percentile(one.lateness, 95)),
                "took p50": _took(percentile(one.durations, 50)),
                "took p95": _took(percentile(one.durations, 95)),
                "since the report before": _trend(report, one),
                "p95 a day": svg.line(daily, f"{one.job}: p95 of its duration, each day"),
            }
        )
    return rows


def _trend(report: Report, one: JobFigures) -> str:
    """How the p95 of the duration and the failures changed since the previous report."""
    before = report.before(one.job)
    if not before:
        return ""
    parts = []
    was, now = before["duration_seconds"]["p95"], percentile(one.durations, 95)
    if was and now is not None:
        change = now / was - 1
        parts.append("steady" if abs(change) < STEADY else f"p95 {change:+.0%}")
    failed = one.verdicts["failed"] - before["verdicts"].get("failed", 0)
    if failed:
        parts.append(f"{failed:+,} failed")
    return ", ".join(parts)


def _troubles(report: Report) -> list[dict[str, str]]:
    """Each job's reasons and errors, the most frequent first."""
    found: list[tuple[int, str, str]] = []
    for one in report.jobs:
        found += [(count, one.job, why) for why, count in one.reasons.items() if not why.startswith("failed")]
        found += [(count, one.job, f"failed: {why}") for why, count in one.failures.items()]
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [{"runs": f"{count:,}", "job": job, "why": why} for count, job, why in found[:SHOWN]]


def _letters(report: Report) -> list[dict[str, str]]:
    return [
        {
            "at": isoformat(one.at.replace(microsecond=0)),
            "job": one.job or "?",
            "run": one.run_id,
            "reason": worded(one.reason, one.note),
        }
        for one in report.ledger.dead_letters[:SHOWN]
    ]


def _took(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


NUMBERS = {"fires", *VERDICTS, "late p95", "took p50", "took p95", "runs"}


def _html_table(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "<p>None.</p>"

    def cell(name: str, text: str, tag: str = "td") -> str:
        kind = ' class="n"' if name in NUMBERS else ""
        if name in ("failed", "missed") and text and tag == "td":
            kind = ' class="n bad"'
        inside = text if name == "p95 a day" and tag == "td" else escape(text)
        return f"<{tag}{kind}>{inside}</{tag}>"

    head = "".join(cell(name, name, "th") for name in rows[0])
    body = "".join(f"<tr>{''.join(cell(name, text) for name, text in row.items())}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _markdown_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Escape text for a Markdown cell."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
