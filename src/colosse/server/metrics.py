"""Numbers about this server, in Prometheus' text format at `/metrics`.

Each application has its own registry, so that two in one process (as in tests) do not share counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from colosse.engines.pool import Outcome

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters that the server's parts add to."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "colosse_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "colosse_request_seconds",
            "Time to the end of the answer, streams included.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.runs = Counter("colosse_runs", "Runs ended, by how.", ["status"], registry=self.registry)
        self.asked = Counter(
            "colosse_engine_requests", "Requests to engines, by end.", ["endpoint", "status"], registry=self.registry
        )
        self.tokens = Counter(
            "colosse_tokens", "Tokens, as engines count them.", ["model", "kind"], registry=self.registry
        )
        self.ttft = Histogram(
            "colosse_ttft_seconds",
            "Time from sending a request to an engine to the first piece of its answer.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queued = Histogram(
            "colosse_queue_seconds", "Time waited for a free engine.", buckets=_SECONDS, registry=self.registry
        )

    def observe(self, outcome: Outcome) -> None:
        """Count a request to an engine that ended."""
        self.queued.observe(outcome.queue_s)
        self.asked.labels(outcome.endpoint or "(none)", outcome.status).inc()
        if not outcome.endpoint:  # the model's name may be anything that a client sent
            return
        self.tokens.labels(outcome.model, "prompt").inc(outcome.prompt_tokens)
        self.tokens.labels(outcome.model, "completion").inc(outcome.completion_tokens)
        if outcome.ttft_s is not None:
            self.ttft.labels(outcome.model).observe(outcome.ttft_s)

    def watch(self, read: Callable[[], Iterable[tuple[str, str, dict[str, str], float]]]) -> None:
        """Export values read at each scrape: (name, help, labels, value)."""
        self.registry.register(_Gauges(read))

    def render(self) -> bytes:
        """Everything, in the text format."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, read: Callable[[], Iterable[tuple[str, str, dict[str, str], float]]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, text, labels, value in self._read():
            if name not in families:
                families[name] = GaugeMetricFamily(name, text, labels=list(labels))
            families[name].add_metric(list(labels.values()), value)
        return families.values()
