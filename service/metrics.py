"""What Prometheus is told. Every set of label values is bounded: nothing that a client sends becomes a label.

Each application has a registry of its own.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from credence.labels import LABELS, Reason
from credence.language import SUPPORTED_LANGUAGES
from credence.scoring import ModelInfo, StatementScore, TimedScores

NONE: Final = "none"
OTHER: Final = "other"
MAX_MODEL_VERSIONS: Final = 16
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNSCORED: Final = ("overloaded", "too-many-in-flight", "deadline-exceeded", "stopping", "client-gone")
DELIVERED: Final = "delivered"
FAILED: Final = "failed"
DEAD: Final = "dead"
DELIVERY_RESULTS: Final = (DELIVERED, FAILED, DEAD)
EXCHANGE_RESULTS: Final = ("exchanged", "refused", "rolled-back")
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STATEMENTS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_TOKENS: Final = (16, 32, 64, 128, 256, 512, 1024, 2048)
_CONFIDENCES: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)


class Metrics:
    """The counters and histograms of one application. Safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._model_versions: set[str] = set()
        self._declare_requests()
        self._declare_scoring()
        self._declare_scores()
        self._declare_surroundings()

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered. ``route`` is the template of its path."""
        self._requests.labels(method=method, route=route, status=str(status)).inc()
        self._request_seconds.labels(method=method, route=route).observe(seconds)

    def count_unscored(self, reason: str) -> None:
        """Count a request that was not scored to its end, for one of the reasons ``UNSCORED``."""
        self._unscored.labels(reason=reason).inc()

    def observe_queue_wait(self, seconds: float) -> None:
        """Note how long a request waited for its first turn."""
        self._queue_wait.observe(seconds)

    def observe_batch(self, n_statements: int, timed: TimedScores) -> None:
        """Note what went through the model at once."""
        self._batch_statements.observe(n_statements)
        self._batch_tokens.observe(timed.n_tokens)
        self._tokenise.observe(timed.tokenise_seconds)
        self._infer.observe(timed.infer_seconds)

    def observe_store(self, seconds: float) -> None:
        """Note how long it took to keep a request."""
        self._store.observe(seconds)

    def count_scores(self, scores: Iterable[StatementScore]) -> None:
        """Count statements that were scored, or looked at and not scored."""
        for score in scores:
            label = score.label or NONE
            self._statements.labels(
                label=label,
                outcome=score.outcome or NONE,
                language=score.language if score.language in SUPPORTED_LANGUAGES else NONE,
                model_version=self._to_known_version(score.model_version),
            ).inc()
            if score.reason is not None:
                self._abstentions.labels(reason=score.reason).inc()
            if score.confidence is not None:
                self._confidence.labels(label=label).observe(score.confidence)

    def count_kept(self, n_statements: int, *, is_kept: bool) -> None:
        """Count statements of answers by whether they were kept."""
        self._kept.labels(stored=str(is_kept).lower()).inc(n_statements)

    def count_batch_rows(self, n_scored: int, n_errors: int) -> None:
        """Count rows of batches that are done."""
        self._batch_rows.labels(result="scored").inc(n_scored)
        self._batch_rows.labels(result="error").inc(n_errors)

    def count_delivery(self, result: str) -> None:
        """Count an attempt to deliver a webhook, by one of ``DELIVERY_RESULTS``."""
        self._deliveries.labels(result=result).inc()

    def count_exchange(self, result: str) -> None:
        """Count what became of a model that was to take over, by one of ``EXCHANGE_RESULTS``."""
        self._exchanges.labels(result=result).inc()

    def describe_model(self, info: ModelInfo) -> None:
        """Say which model is served now."""
        self._model.info(
            {
                "model_version": info.model_version,
                "bundle_digest": info.bundle_digest,
                "calibration_id": info.calibration_id,
                "mlflow_run_id": info.mlflow_run_id,
            }
        )

    def watch_pool(self, n_waiting: Callable[[], int], is_ready: Callable[[], bool]) -> None:
        """Ask at each reading how many statements wait, and whether the service is ready."""
        self._waiting.set_function(n_waiting)
        self._ready.set_function(lambda: float(is_ready()))

    def watch_storage(self, n_faults: Callable[[], int]) -> None:
        """Ask at each reading how often the database did not answer so far."""
        self.registry.register(_StorageFaults(n_faults))

    def watch_streams(self, n_streams: Callable[[], int]) -> None:
        """Ask at each reading how many clients listen to events."""
        self._streams.set_function(n_streams)

    def _to_known_version(self, model_version: str) -> str:
        if len(self._model_versions) < MAX_MODEL_VERSIONS:
            self._model_versions.add(model_version)
        return model_version if model_version in self._model_versions else OTHER

    def _declare_requests(self) -> None:
        self._requests = self._counter("http_requests", "Requests answered.", "method", "route", "status")
        self._request_seconds = self._histogram(
            "http_request_seconds",
            "From the first byte of a request to the end of its answer.",
            _SECONDS,
            "method",
            "route",
        )
        self.in_progress = self._gauge("http_requests_in_progress", "Requests that are being answered.")
        self._unscored = self._counter("unscored_requests", "Requests that were not scored to their end.", "reason")
        _begin_at_zero(self._unscored, reason=UNSCORED)

    def _declare_scoring(self) -> None:
        self._waiting = self._gauge("waiting_statements", "Statements of requests that wait for their turn.")
        self._queue_wait = self._histogram("queue_wait_seconds", "How long requests waited for a turn.", _SECONDS)
        self._tokenise = self._histogram("tokenise_seconds", "What came before the network, for each batch.", _SECONDS)
        self._infer = self._histogram("infer_seconds", "What the network took, for each batch.", _SECONDS)
        self._store = self._histogram("store_seconds", "How long it took to keep a request.", _SECONDS)
        self._batch_statements = self._histogram("batch_statements", "Statements scored at once.", _STATEMENTS)
        self._batch_tokens = self._histogram("batch_tokens", "Tokens read at once.", _TOKENS)

    def _declare_scores(self) -> None:
        self._statements = self._counter(
            "statements", "Statements scored.", "label", "outcome", "language", "model_version"
        )
        self._confidence = self._histogram("confidence", "Confidence of scored statements.", _CONFIDENCES, "label")
        self._abstentions = self._counter("abstentions", "Statements without a label.", "reason")
        self._kept = self._counter("answered_statements", "Statements of answers, kept or not.", "stored")
        _begin_at_zero(self._abstentions, reason=tuple(Reason))
        _begin_at_zero(self._kept, stored=("true", "false"))
        for label in (*LABELS, NONE):
            self._confidence.labels(label=label)

    def _declare_surroundings(self) -> None:
        self._ready = self._gauge("ready", "1 if the service takes requests, 0 before and while it stops.")
        self._streams = self._gauge("event_streams", "Clients that listen to events.")
        self._batch_rows = self._counter("batch_rows", "Rows of batches that are done.", "result")
        self._deliveries = self._counter("webhook_deliveries", "Attempts to deliver a webhook.", "result")
        _begin_at_zero(self._batch_rows, result=("scored", "error"))
        _begin_at_zero(self._deliveries, result=DELIVERY_RESULTS)
        self._exchanges = self._counter("model_exchanges", "Models that took over, or did not.", "result")
        _begin_at_zero(self._exchanges, result=EXCHANGE_RESULTS)
        self._model = Info("credence_model", "The model that is served.", registry=self.registry)
        build = Info("credence_build", "The program that serves it.", registry=self.registry)
        build.info({"version": version("credence"), "python": platform.python_version()})

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"credence_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"credence_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"credence_{name}", text, labels, buckets=buckets, registry=self.registry)


class _StorageFaults(Collector):
    def __init__(self, n_faults: Callable[[], int]) -> None:
        self._n_faults = n_faults

    def collect(self) -> Iterable[CounterMetricFamily]:
        text = "How often the database did not answer."
        yield CounterMetricFamily("credence_storage_errors", text, value=self._n_faults())


def to_method_label(method: str) -> str:
    """Return a method as sent, if it is one of those that exist."""
    return method if method in METHODS else OTHER


def _begin_at_zero(counter: Counter, **labels: Sequence[str]) -> None:
    """Show a series before the first time that it counts: a rate over it is then right from the start."""
    ((name, values),) = labels.items()
    for value in values:
        counter.labels(**{name: value})
