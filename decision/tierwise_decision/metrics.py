"""What `/metrics` shows, in a registry of its own. Nothing in it names a user, a job or a node."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Gauges = Callable[[], dict[str, dict[str, float]]]
"""Gauge name to tier (or `` where it has no tier) to value, asked at each scrape."""


class Metrics:
    """The service's counters; `gauges` are asked when somebody looks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.submits = Counter(
            "tierwise_submits", "Submissions that the hook asked about", ["status"], registry=self.registry
        )
        self.submit_seconds = Histogram(
            "tierwise_submit_seconds",
            "Time from a whole question of the hook to its answer",
            buckets=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2),
            registry=self.registry,
        )
        self.plans = Counter("tierwise_plans", "Final plans answered to agents", ["outcome"], registry=self.registry)
        self.samples = Counter("tierwise_samples", "Samples taken from agents", registry=self.registry)
        self.measurements = Counter(
            "tierwise_measurements", "Measurements of nodes taken from agents", registry=self.registry
        )
        self.reports = Counter("tierwise_reports", "Reports of ended jobs", ["kept"], registry=self.registry)
        self.moves = Counter(
            "tierwise_reported_moves_pages", "Verified moves in reports, pages", ["count"], registry=self.registry
        )
        self.complaints = Counter(
            "tierwise_complaints", "What peers did wrong and what failed", ["kind"], registry=self.registry
        )

    def complained(self, kind: str) -> None:
        """One complaint more of this kind."""
        self.complaints.labels(kind).inc()

    def watch(self, gauges: Gauges) -> None:
        """Show these gauges too."""
        self.registry.register(_Gauges(gauges))

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, values in self._gauges().items():
            labelled = "" not in values
            family = GaugeMetricFamily(name, name.replace("_", " "), labels=["tier"] if labelled else [])
            for tier, value in values.items():
                family.add_metric([tier] if labelled else [], value)
            yield family

    def describe(self) -> Iterable[Metric]:
        return []
