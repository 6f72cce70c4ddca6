"""Numbers about this server, in Prometheus' text format at `/metrics`.

Each application has its own registry, so that two in one process (as in tests) do not share counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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
        self.tokens = Counter(
            "colosse_tokens", "Tokens, as engines count them.", ["model", "kind"], registry=self.registry
        )
        self.ttft = Histogram(
            "colosse_ttft_seconds",
            "Time from a request to its first token.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def watch(self, read: Callable[[], Iterable[tuple[str, str, dict[str, str], float]]]) -> None:
        """Export values read at each scrape: (name, help, labels, value)."""
        self.registry.register(_Gauges(read))

    def count_tokens(self, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Add the tokens of one request."""
        self.tokens.labels(model, "prompt").inc(prompt_tokens)
        self.tokens.labels(model, "completion").inc(completion_tokens)

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
