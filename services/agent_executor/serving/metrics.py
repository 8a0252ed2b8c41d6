"""How Prometheus metrics are defined, counted and served; ``metric_names`` has the metrics themselves.

A metric appears on a service's ``/metrics`` page once the service has used it. Histograms carry
the trace id of a sampled call as an exemplar, which the OpenMetrics format shows.
"""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from opentelemetry.trace import SpanContext
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from agent_executor.serving.redaction import redacted_text
from agent_executor.serving.startup import StartupError

# When each series began, of which nobody asks; it would be one more beside every counter.
disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types

# From a millisecond, which a call between services takes, to minutes.
CALL_BUCKETS_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)

# Labels whose values users choose, so that there is no end of them.
NAMED_BY_USERS: Final = frozenset({"agent", "model", "tool"})
DEFAULT_MAX_NAMES: Final = 200
OTHER: Final = "other"
"""Stands for the values of such a label that came when there were too many already."""

FamilyT = TypeVar("FamilyT", "_Counter", Gauge, "_Histogram")


@dataclass(frozen=True, slots=True, eq=False)
class Definition(ABC, Generic[FamilyT]):
    """What a metric is called and what it tells.

    Attributes:
        name: Its name, with the unit last.
        help: What it tells, in a sentence.
        labels: The names of its labels.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @abstractmethod
    def family(self, registry: CollectorRegistry) -> FamilyT:
        """Makes the metric in the registry."""


class CounterDefinition(Definition["_Counter"]):
    """A count that only grows. Prometheus appends ``_total`` to its name."""

    __slots__ = ()

    def family(self, registry: CollectorRegistry) -> _Counter:
        """Makes the counter."""
        return _Counter(self.name, self.help, self.labels, registry=registry)


class GaugeDefinition(Definition[Gauge]):
    """A figure that rises and falls."""

    __slots__ = ()

    def family(self, registry: CollectorRegistry) -> Gauge:
        """Makes the gauge."""
        return Gauge(self.name, self.help, self.labels, registry=registry)


@dataclass(frozen=True, slots=True, eq=False)
class DurationDefinition(Definition["_Histogram"]):
    """A distribution of durations in seconds.

    Attributes:
        buckets: The upper bounds, rising.
    """

    buckets: tuple[float, ...] = CALL_BUCKETS_SECONDS

    def family(self, registry: CollectorRegistry) -> _Histogram:
        """Makes the histogram."""
        buckets = self.buckets
        return _Histogram(self.name, self.help, self.labels, registry=registry, buckets=buckets)


class SizeDefinition(DurationDefinition):
    """A distribution of sizes, which is told of as one of durations is."""

    __slots__ = ()


class _Counter(Counter):
    """A counter that is told of what is known to be right, which takes half the time of ``inc``."""

    def add(self, amount: float) -> None:
        """Does what ``inc`` does, for an amount that is not negative and a child with its labels."""
        self._value.inc(amount)


class _Histogram(Histogram):
    """A histogram that can be told the same duration of many calls at once."""

    def observe_many(self, seconds: float, count: int) -> None:
        """Does what so many calls of ``observe`` do."""
        self._sum.inc(seconds * count)
        self._buckets[bisect_left(self._upper_bounds, seconds)].inc(count)


class Metrics:
    """The metrics of one process, each made when it is first used.

    Label values are given in the order of the definition's labels. Of those in ``NAMED_BY_USERS``
    the first ``max_names`` of each label are told apart, in every metric alike; those that come
    later all count as ``OTHER``. What looks like a credential in them is not shown. The number of
    other labels' values must be bounded by itself: ids never are labels.

    Args:
        registry: What ``/metrics`` shows. Default: a new one with figures on the process.
        max_names: How many agents, models and tools have series of their own.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, max_names: int = DEFAULT_MAX_NAMES
    ) -> None:
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        self.registry: Final = registry
        self._max_names = max_names
        self._names: dict[str, dict[str, str]] = {label: {} for label in NAMED_BY_USERS}
        # Kept here, since prometheus_client's own lookup of a child takes longer than counting.
        self._children: dict[tuple[Definition[Any] | str, ...], Any] = {}
        self._families: dict[Definition[Any], Any] = {}
        self._making = threading.Lock()

    def increment(self, definition: CounterDefinition, *labels: str, by: float = 1) -> None:
        """Counts one more, or ``by`` more."""
        self._child(definition, labels).add(by)

    def show(self, *definitions: Definition[Any]) -> None:
        """Shows metrics without labels before they are used, so that their first rise is seen."""
        for definition in definitions:
            self._child(definition, ())

    def add_to_gauge(self, definition: GaugeDefinition, change: float, *labels: str) -> None:
        """Changes the figure."""
        self._child(definition, labels).inc(change)

    def set_gauge(self, definition: GaugeDefinition, value: float, *labels: str) -> None:
        """Sets the figure."""
        self._child(definition, labels).set(value)

    def observe(
        self,
        definition: DurationDefinition,
        seconds: float,
        *labels: str,
        span_context: SpanContext | None = None,
        count: int = 1,
    ) -> None:
        """Adds a duration to the distribution, with its trace as an example if that is sampled.

        Args:
            definition: The distribution.
            seconds: The duration.
            labels: Its labels.
            span_context: The trace, or one of them.
            count: How many calls have taken it.
        """
        child = self._child(definition, labels)
        if span_context is None or not span_context.trace_flags.sampled:
            child.observe_many(seconds, count)
            return
        if count > 1:
            child.observe_many(seconds, count - 1)
        trace_id, span_id = f"{span_context.trace_id:032x}", f"{span_context.span_id:016x}"
        child.observe(seconds, {"trace_id": trace_id, "span_id": span_id})

    def is_known(self, label: str, name: str) -> bool:
        """Tells whether a name that a user chose has series of its own already."""
        return name in self._names[label]

    def _child(self, definition: Definition[FamilyT], labels: tuple[str, ...]) -> FamilyT:
        child: FamilyT | None = self._children.get((definition, *labels))
        return self._make_child(definition, labels) if child is None else child

    def _make_child(self, definition: Definition[FamilyT], labels: tuple[str, ...]) -> FamilyT:
        # Writer threads count too, and a family may be registered only once.
        with self._making:
            # Only what is shown is kept: of names that are not, there is no end.
            shown: tuple[str, ...] = tuple(
                self._shown(label, value)
                for label, value in zip(definition.labels, labels, strict=True)
            )
            family: FamilyT | None = self._families.get(definition)
            if family is None:
                family = self._families[definition] = definition.family(self.registry)
            child = family.labels(*shown) if definition.labels else family
            self._children[(definition, *shown)] = child
        return child

    def _shown(self, label: str, value: str) -> str:
        if label not in NAMED_BY_USERS:
            return value
        names = self._names[label]
        if value not in names:
            if len(names) >= self._max_names:
                return OTHER
            names[value] = redacted_text(value)
        return names[value]


@contextmanager
def metrics_served(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    """Serves ``/metrics`` from a thread, in either Prometheus format, and yields the port.

    Args:
        metrics: What is shown.
        host: The address to listen on.
        port: The port to listen on; 0 for any that is free.

    Raises:
        StartupError: The port is taken or may not be used.
    """
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise StartupError(
            f"The metrics cannot be served on {host}:{port}: {error.strerror}."
        ) from error
    try:
        yield server.server_port
    finally:
        stopping = threading.Thread(target=server.shutdown)
        stopping.start()
        # The server looks up every half second, or when someone comes.
        with suppress(OSError), socket.create_connection((host, server.server_port), timeout=1):
            pass
        stopping.join()
        server.server_close()
        thread.join()
