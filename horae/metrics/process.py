"""Metrics of a process for Prometheus. Each process has one object; names begin with `horae_`."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from horae.jobs.policies import Tier
from horae.metrics.ledger import LedgerMetrics
from horae.runs import Verdict

SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 3600, 4 * 3600)
LATE = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self._runs = counter("horae_runs", "Settled runs", ["job", "tier", "verdict"])
        self._seconds = histogram("horae_run_seconds", "Duration of runs", ["job"], buckets=SECONDS)
        self._late = histogram(
            "horae_fire_late_seconds",
            "Time from when a fire was due until it began",
            ["tier"],
            buckets=LATE,
        )
        # Keep the series, because finding one by its labels takes longer than counting.
        self._series: dict[tuple[str, Tier, Verdict], tuple[Counter, Histogram]] = {}
        self._rounds: dict[str, tuple[Gauge, Gauge]] = {}
        self._slow = counter("horae_slow_internal_runs", "Internal runs that took over five seconds", ["job"])
        self.active = gauge("horae_active_runs", "Runs that are running in this process")
        self.fires = counter("horae_fires_dispatched", "Fires of durable jobs written to the outbox")
        self.published = counter("horae_messages_published", "Messages given to a broker", ["provider"])
        self._reopened = counter(
            "horae_consumers_reopened",
            "Consumers that got no messages from a broker that had some, and were opened again",
            ["provider"],
        )
        self.lapsed = counter("horae_leases_lapsed", "Runs whose lease expired")
        self._tick = gauge("horae_tick_seconds", "Unix time of the last round of each duty", ["duty"])
        self._troubled = gauge(
            "horae_duty_in_trouble",
            "1 while a duty waits for a service that does not answer",
            ["duty"],
        )
        self.ledger = LedgerMetrics()
        self.registry.register(self.ledger)
        self.healthy = gauge("horae_health_check", "1 if the check passed", ["check"])
        self.seen = gauge("horae_health_figure", "Value that a check measured", ["check", "figure"])

    def began(self, tier: Tier, due: datetime | None, now: Callable[[], datetime]) -> None:
        if due is not None:
            late = self._late.labels(tier.value)
            late.observe(max(0.0, (now() - due).total_seconds()))

    def ended(self, job: str, tier: Tier, verdict: Verdict, seconds: float) -> None:
        series = self._series.get((job, tier, verdict))
        if series is None:
            series = self._runs.labels(job, tier.value, verdict.value), self._seconds.labels(job)
            self._series[job, tier, verdict] = series
        series[0].inc()
        series[1].observe(seconds)

    def went_round(self, duty: str, at: datetime, *, troubled: bool) -> None:
        if duty not in self._rounds:
            self._rounds[duty] = self._tick.labels(duty), self._troubled.labels(duty)
        tick, trouble = self._rounds[duty]
        tick.set(at.timestamp())
        trouble.set(1 if troubled else 0)

    def reopened(self, provider: str) -> None:
        self._reopened.labels(provider).inc()

    def slow(self, job: str) -> None:
        self._slow.labels(job).inc()

    def checked(self, result: Any) -> None:
        """Expose the result of a checking job, {"checks": [{"name", "ok", "figures"}]}; ignore other results."""
        checks = result.get("checks") if isinstance(result, dict) else None
        for check in checks if isinstance(checks, list) else []:
            if check.get("ok") is not None:
                self.healthy.labels(check["name"]).set(1 if check["ok"] else 0)
            for figure, value in check.get("figures", {}).items():
                self.seen.labels(check["name"], figure).set(value)

    def page(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self.registry)
