"""The only question that the ledger is asked: has each run and fire one verdict, and is it the journal's?"""

from collections import Counter
from collections.abc import Iterable, Iterator

from chaos.checker import Findings
from chaos.journal import Journal
from chaos.record import Record
from chaos.violation import Fault, Violation
from horae.runs import Run, Verdict


def check_verdicts(runs: Iterable[Run], journal: Journal, record: Record, findings: Findings) -> Iterator[Violation]:
    """`runs`: the ledger's rows of all accepted runs, and of all fires of the window."""
    found, done = {run.run_id: run for run in runs}, journal.done
    for accepted in record.accepted:
        if accepted.run_id not in found:
            yield _violation(accepted.job, accepted.run_id, "the run was accepted, but the ledger does not have it")
    for run in found.values():
        attempts = len(journal.attempts.get(run.run_id, []))
        if run.verdict in (Verdict.SKIPPED, Verdict.MISSED) and attempts:
            text = f"the ledger says {run.verdict.value}: {run.reason}, but the run began {attempts} times"
            yield Violation(fault=Fault.UNDONE, job=run.job, run_id=run.run_id, text=text)
        for text in _contradictions(run, journal, run.run_id in done, run.run_id in findings.given_up):
            yield _violation(run.job, run.run_id, text)
    yield from _check_fires(found.values(), record, findings)


def _contradictions(run: Run, journal: Journal, done: bool, given_up: bool) -> Iterator[str]:
    attempts = journal.attempts.get(run.run_id, [])
    settled = sum(event.what == "settled" for event in run.story)
    if run.verdict is None:
        yield f"the run has no verdict; its state is {run.state.value}"
        return
    if settled > 1:
        yield f"the run was settled {settled} times"
    if run.verdict is Verdict.RAN and not done:
        yield "the ledger says ran, but the effect never happened"
    if run.verdict in (Verdict.FAILED, Verdict.CANCELLED) and not given_up and run.reason != "worker died":
        yield f"the ledger says {run.verdict.value}: {run.reason}"
    if given_up and (run.verdict, run.reason) != (Verdict.FAILED, "worker died"):
        yield f"the effect never happened, and the ledger says {run.verdict.value}: {run.reason}"
    if attempts and run.attempts < attempts[-1].begin.attempt:
        yield f"the ledger says {run.attempts} attempts, but the journal has attempt {attempts[-1].begin.attempt}"


def _check_fires(runs: Iterable[Run], record: Record, findings: Findings) -> Iterator[Violation]:
    """Each fire of each schedule has one row, those that were skipped or missed too.

    A fire of an internal job that no sidecar began has its row a minute later.
    """
    rows = Counter((run.job, run.scheduled_for) for run in runs if run.scheduled_for)
    for job in filter(lambda job: job.schedule, record.jobs):
        for instant in record.expected_fires(job):
            least = 0 if job.internal or (job.name, instant) in findings.forgotten else 1
            if not least <= rows[job.name, instant] <= 1:
                yield _violation(job.name, "", f"{rows[job.name, instant]} rows for {instant.isoformat()}")


def _violation(job: str, run_id: str, text: str) -> Violation:
    return Violation(fault=Fault.VERDICT, job=job, run_id=run_id, text=text)
