"""What a chaos run came to, for people and as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import ceil
from typing import Any

from chaos.checker import Findings, check
from chaos.driver import Played
from chaos.journal import Journal
from chaos.plan import Plan
from chaos.record import OLDER
from chaos.verdicts import check_verdicts
from chaos.violation import Violation

SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    plan: Plan
    played: Played
    findings: Findings
    violations: tuple[Violation, ...]
    """The checker's, then those of the ledger."""

    @property
    def satisfied(self) -> bool:
        record = self.played.record
        return not (self.violations or self.dead_letters or record.left or any(record.exits.values()))

    @property
    def dead_letters(self) -> dict[str, str]:
        """Those that no rule explains."""
        given_up = self.findings.given_up
        return {id: why for id, why in self.played.record.dead_letters.items() if id not in given_up}

    def as_dict(self) -> dict[str, Any]:
        record, findings = self.played.record, self.findings
        window = record.window[1] - record.window[0]
        return {
            "seed": self.plan.seed,
            "provider": self.plan.provider,
            "jobs": len(record.accepted),
            "fires": findings.fires,
            "seconds": round(self.played.seconds, 1),
            "window_seconds": round(window.total_seconds(), 1),
            "refused": record.refused,
            "kills": dict(sorted(Counter(hit.blow.value for hit in record.hits).items())),
            "lost": findings.lost,
            "extra_explained": findings.explained.total(),
            "extra_explained_by": {blow.value: times for blow, times in sorted(findings.explained.items())},
            "extra_unexplained": findings.unexplained,
            "claims_without_beginning": findings.gaps,
            "fires_forgotten": len(findings.forgotten),
            "given_up": len(findings.given_up),
            "dead_letters": self.dead_letters,
            "beside": asdict(sharing(self.played.journal)),
            "redelivery_seconds": spread(findings.redeliveries),
            "redelivery_seconds_undisturbed": spread(findings.undisturbed),
            "healed_seconds": round(healed(self.played), 1),
            "stopped_seconds": spread(sorted(record.stopped)),
            "violations": [
                {"fault": one.fault.value, "job": one.job, "run_id": one.run_id, "text": one.text}
                for one in self.violations
            ],
            "exits": {name: status for name, status in record.exits.items() if status},
            "left_behind": record.left,
            "satisfied": self.satisfied,
        }

    def __str__(self) -> str:
        values = self.as_dict()
        by = ", ".join(f"{blow} {times}" for blow, times in values["extra_explained_by"].items()) or "none"
        rows = {
            "seed": f"{values['seed']}, provider {values['provider']}",
            "jobs": f"{values['jobs']} enqueued in {values['window_seconds']} s, {values['refused']} refusals repeated",
            "fires": f"{values['fires']}; every fire of the plan was checked; "
            f"{values['fires_forgotten']} lost with their schedule",
            "kills": ", ".join(f"{blow} {times}" for blow, times in values["kills"].items()) or "none",
            "lost": values["lost"],
            "extra": f"{values['extra_explained']} explained ({by}), {values['extra_unexplained']} unexplained",
            "claims": f"{values['claims_without_beginning']} claims whose worker died before the job began",
            "given up": f"{values['given_up']} runs by rule: too many workers died with the run",
            "letters": f"{len(self.dead_letters)} dead letters that no rule explains",
            "beside": "{older} of {attempts} attempts in the revision beside; runs that changed: {to_newer} from it "
            "to this one, {to_older} from this one to it".format(**values["beside"]),
            "redelivery": _said(values["redelivery_seconds"]),
            "undisturbed": f"{_said(values['redelivery_seconds_undisturbed'])}, when no other blow hit in that time",
            "healed": f"{values['healed_seconds']} s after the last blow and enqueue, all accepted runs had ended",
            "stopped": f"{_said(values['stopped_seconds']).replace('runs', 'processes')}, from SIGTERM to the end",
        }
        lines = [f"{name:<11} {text}" for name, text in rows.items()]
        lines += [f"{len(self.violations)} violations" if self.violations else "no violations"]
        lines += [f"  {violation}" for violation in self.violations[:SHOWN]]
        lines += [f"  … and {len(self.violations) - SHOWN} more"] if len(self.violations) > SHOWN else []
        lines += [f"  {id}: {why}" for id, why in list(self.dead_letters.items())[:SHOWN]]
        lines += [f"{name} ended with status {status}" for name, status in values["exits"].items()]
        lines += [f"left behind: {values['left_behind']}"] if values["left_behind"] else []
        return "\n".join(lines)


def report_of(plan: Plan, played: Played) -> Report:
    findings = check(played.journal, played.record)
    verdicts = check_verdicts(played.runs, played.journal, played.record, findings)
    return Report(plan=plan, played=played, findings=findings, violations=(*findings.violations, *verdicts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing:
    """How two revisions shared the work."""

    attempts: int
    older: int
    """Attempts in processes of the revision beside."""
    to_newer: int
    """Attempts here on a run whose attempt before was there."""
    to_older: int


def sharing(journal: Journal) -> Sharing:
    of_run = [[one.begin.worker.endswith(OLDER) for one in attempts] for attempts in journal.attempts.values()]
    changes = Counter(pair for places in of_run for pair in pairwise(places))
    return Sharing(
        attempts=sum(map(len, of_run)),
        older=sum(map(sum, of_run)),
        to_newer=changes[True, False],
        to_older=changes[False, True],
    )


def spread(ascending: Sequence[float]) -> dict[str, Any]:
    """How many, and the p50, p99 and greatest of them, in seconds; None of nothing."""
    return {"runs": len(ascending)} | {
        name: percentile(ascending, share) for name, share in (("p50", 50), ("p99", 99), ("max", 100))
    }


def healed(played: Played) -> float:
    """Seconds from the last blow or enqueue to the end of the last accepted run."""
    accepted = {one.run_id for one in played.record.accepted}
    calm = [one.at for one in played.record.accepted] + [hit.ended for hit in played.record.hits]
    ends = [
        attempt.end.at
        for run, attempts in played.journal.attempts.items()
        for attempt in attempts
        if run in accepted and attempt.end
    ]
    return max(0.0, max(ends, default=0.0) - max(calm, default=0.0))


TABLE = ("provider", "jobs", "blows", "lost", "unexplained", "p50", "p99", "max", "heal", "stop")


def table_of(reports: Sequence[Report]) -> str:
    """A Markdown table with a row for each report. Redelivery, healing and stopping (the longest) are in seconds."""
    lines = [f"| {' | '.join(TABLE)} |", f"|{' --- |' * len(TABLE)}"]
    for report in reports:
        values = report.as_dict()
        redelivery = values["redelivery_seconds_undisturbed"]
        row = [
            values["provider"],
            f"{values['jobs']:,}",
            sum(values["kills"].values()),
            values["lost"],
            values["extra_unexplained"],
            *(redelivery[share] for share in ("p50", "p99", "max")),
            values["healed_seconds"],
            values["stopped_seconds"]["max"],
        ]
        lines.append(f"| {' | '.join('-' if cell is None else str(cell) for cell in row)} |")
    return "\n".join(lines)


def percentile(ascending: Sequence[float], share: int) -> float | None:
    """The smallest value that so many hundredths are not above; None of nothing."""
    return round(ascending[max(0, ceil(len(ascending) * share / 100) - 1)], 3) if ascending else None


def _said(spread: dict[str, Any]) -> str:
    if not spread["runs"]:
        return "none"
    return "p50 {p50:.2f} s, p99 {p99:.2f} s, max {max:.2f} s ({runs} runs)".format(**spread)
