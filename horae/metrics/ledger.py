"""Metrics of the ledger for Prometheus. They are read from the store, so they survive a restart of the process.

All processes that expose them expose the same values: use the maximum over instances, not the sum.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from horae.runs import Verdict

STRANGERS = "(unregistered)"
"""The label of jobs that this process does not know. Messages may name any job, so there is no series for each name."""

COUNTERS = {
    "ledger_runs": ("Settled runs of all tiers", ("job", "verdict")),
    "fires_missed": ("Fires that were missed", ("job",)),
    "fires_failed": ("Fires and other runs that failed", ("job",)),
    "fires_late": ("Fires that began late", ("job",)),
}
GAUGES = {
    "outbox_overdue_seconds": "Time since the first entry of the outbox became due",
    "outbox_entries": "Entries of the outbox that wait for their time or for the relay",
    "runs_waiting": "Runs that wait for another run of their job, or for the end of a pause",
    "runs_claimed": "Runs that a worker has claimed and not yet settled",
    "dead_letters": "Dead letters",
}
PROVIDER_GAUGES = {
    "provider_outbox_entries": "Runs that wait for their time or for the relay of the provider",
    "provider_overdue_seconds": "How long the first of these has been due",
    "provider_queued_runs": "Runs whose message is at the provider",
    "provider_queued_seconds": "How long ago the first of these messages was published",
}


class LedgerMetrics(Collector):
    """Exposes nothing before the first call of `show`, because a 0 would look like a reset of the counters."""

    def __init__(self) -> None:
        self._jobs: Collection[str] = ()
        self._counts: Mapping[str, Mapping[tuple[str, ...], int]] | None = None
        self._gauges: Mapping[str, float] = {}
        self._providers: Mapping[str, Mapping[str, float]] = {}

    def show(
        self,
        jobs: Collection[str],
        settled: Mapping[tuple[str, str], int],
        noticed: Mapping[tuple[str, str], int],
        gauges: Mapping[str, float],
        providers: Mapping[str, Mapping[str, float]],
    ) -> None:
        """Set the values to expose. Each of `jobs` has its own series from 0, so that its first failure is an increase.

        `settled` is by job and verdict, `noticed` by job and kind (missed, failed, late), `providers` by provider and
        gauge.
        """
        by_verdict: Counter[tuple[str, ...]] = Counter()
        for (job, verdict), count in settled.items():
            by_verdict[job if job in jobs else STRANGERS, verdict] += count
        noted = {what: Counter[tuple[str, ...]]() for what in ("missed", "failed", "late")}
        for (job, what), count in noticed.items():
            noted[what][(job if job in jobs else STRANGERS,)] += count
        self._jobs, self._gauges, self._providers = jobs, gauges, providers
        self._counts = {"ledger_runs": by_verdict, **{f"fires_{what}": found for what, found in noted.items()}}

    def describe(self) -> Iterator[Metric]:
        for name, (text, labels) in COUNTERS.items():
            yield CounterMetricFamily(f"horae_{name}", text, labels=labels)
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"horae_{name}", text)
        for name, text in PROVIDER_GAUGES.items():
            yield GaugeMetricFamily(f"horae_{name}", text, labels=["provider"])

    def collect(self) -> Iterator[Metric]:
        if self._counts is None:
            return
        for name, (text, labels) in COUNTERS.items():
            family = CounterMetricFamily(f"horae_{name}", text, labels=labels)
            for values, count in (self._zeros(labels) | dict(self._counts[name])).items():
                family.add_metric(values, count)
            yield family
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"horae_{name}", text, value=self._gauges[name])
        for name, text in PROVIDER_GAUGES.items():
            gauge = GaugeMetricFamily(f"horae_{name}", text, labels=["provider"])
            for provider, figures in self._providers.items():
                gauge.add_metric([provider], figures[name])
            yield gauge

    def _zeros(self, labels: tuple[str, ...]) -> dict[tuple[str, ...], int]:
        if "verdict" in labels:
            return {(job, verdict.value): 0 for job in self._jobs for verdict in Verdict}
        return {(job,): 0 for job in (*self._jobs, STRANGERS)}
