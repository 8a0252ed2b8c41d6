from __future__ import annotations

import re
import socket
import threading
import urllib.request
from typing import Any

import pytest
from opentelemetry.trace import SpanContext, TraceFlags
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from agent_executor.serving import metric_names
from agent_executor.serving.metric_names import (
    AGENT_RUNS,
    AGENT_TOKENS,
    BUDGET_OVERRUNS,
    RPC_DURATION,
    RPC_REQUESTS,
    RUNS_ACTIVE,
    TOOL_CALLS,
)
from agent_executor.serving.metrics import Definition, DurationDefinition, Metrics, metrics_served
from agent_executor.serving.startup import StartupError

DEFINITIONS = [value for value in vars(metric_names).values() if isinstance(value, Definition)]
SAMPLED = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
UNSAMPLED = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(0))


def page(metrics: Metrics) -> str:
    text: bytes = generate_latest(metrics.registry)
    return text.decode()


def openmetrics_page(metrics: Metrics) -> str:
    text: bytes = openmetrics.generate_latest(metrics.registry)  # type: ignore[no-untyped-call]  # has no types
    return text.decode()


def test_counts_gauges_and_durations_are_shown_by_their_labels() -> None:
    metrics = Metrics()
    metrics.increment(RPC_REQUESTS, "/a.B/C", "OK")
    metrics.increment(RPC_REQUESTS, "/a.B/C", "OK", by=2)
    metrics.increment(RPC_REQUESTS, "/a.B/C", "INTERNAL")
    metrics.set_gauge(RUNS_ACTIVE, 7)
    metrics.observe(RPC_DURATION, 0.2, "/a.B/C")
    shown = page(metrics)
    assert 'agent_executor_rpc_requests_total{code="OK",method="/a.B/C"} 3.0' in shown
    assert 'agent_executor_rpc_requests_total{code="INTERNAL",method="/a.B/C"} 1.0' in shown
    assert "agent_executor_runs_active 7.0" in shown
    assert 'agent_executor_rpc_duration_seconds_bucket{le="0.1",method="/a.B/C"} 0.0' in shown
    assert 'agent_executor_rpc_duration_seconds_bucket{le="0.25",method="/a.B/C"} 1.0' in shown


def test_a_metric_that_was_never_used_is_not_shown() -> None:
    assert "agent_executor_" not in page(Metrics())


def test_the_process_itself_is_shown() -> None:
    assert "process_resident_memory_bytes" in page(Metrics())


def test_two_services_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.increment(RPC_REQUESTS, "/a.B/C", "OK")
    assert "agent_executor_rpc_requests" not in page(second)


def test_only_a_sampled_trace_becomes_an_exemplar() -> None:
    metrics = Metrics()
    metrics.observe(RPC_DURATION, 0.002, "/a.B/C", span_context=UNSAMPLED)
    assert "trace_id" not in openmetrics_page(metrics)
    metrics.observe(RPC_DURATION, 0.2, "/a.B/C", span_context=SAMPLED)
    shown = openmetrics_page(metrics)
    assert f'# {{span_id="{0xDEF:016x}",trace_id="{0xABC:032x}"}} 0.2' in shown


def test_threads_that_count_at_once_make_one_metric() -> None:
    metrics = Metrics()
    barrier = threading.Barrier(8)

    def count(number: int) -> None:
        barrier.wait()
        for _ in range(100):
            metrics.increment(RPC_REQUESTS, "/a.B/C", str(number % 2))

    threads = [threading.Thread(target=count, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 'agent_executor_rpc_requests_total{code="0",method="/a.B/C"} 400.0' in page(metrics)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_every_definition_is_named_and_explained(definition: Definition[Any]) -> None:
    assert re.fullmatch(r"agent_executor_[a-z0-9_]+", definition.name)
    assert not definition.name.endswith("_total")
    assert definition.name.endswith("_seconds") or type(definition) is not DurationDefinition
    assert definition.help.endswith(".")


class TestNamesThatUsersChoose:
    def shown(self, metrics: Metrics, **labels: str) -> float | None:
        return metrics.registry.get_sample_value("agent_executor_agent_tokens_total", labels)

    def test_those_beyond_the_bound_count_together(self) -> None:
        metrics = Metrics(max_names=2)
        for name in ("a", "b", "c", "d", "a", "c"):
            metrics.increment(AGENT_TOKENS, name, by=10)
        assert [self.shown(metrics, agent=name) for name in ("a", "b", "other")] == [20, 10, 30]
        assert self.shown(metrics, agent="c") is None

    def test_a_name_is_told_apart_in_every_metric_or_in_none(self) -> None:
        metrics = Metrics(max_names=1)
        metrics.increment(AGENT_TOKENS, "a")
        metrics.increment(AGENT_RUNS, "b", "completed", "OK")
        assert 'agent="other",code="OK"' in page(metrics)
        assert metrics.is_known("agent", "a")
        assert not metrics.is_known("agent", "b")

    def test_each_label_has_a_bound_of_its_own(self) -> None:
        metrics = Metrics(max_names=1)
        metrics.increment(AGENT_TOKENS, "a")
        metrics.increment(TOOL_CALLS, "a", "OK")
        assert self.shown(metrics, agent="a") == 1
        assert 'tool="a"' in page(metrics)

    def test_nothing_is_kept_of_names_without_end(self) -> None:
        metrics = Metrics(max_names=3)
        for number in range(1000):
            metrics.increment(AGENT_TOKENS, f"agent {number}")
        assert self.shown(metrics, agent="other") == 997
        assert len(metrics._children) == 4

    def test_what_looks_like_a_credential_is_not_shown(self) -> None:
        metrics = Metrics()
        for number in range(2):
            metrics.increment(AGENT_TOKENS, f"of sk-ant-api03-abcdefghijklmno{number}")
        assert self.shown(metrics, agent="of [redacted]") == 2

    def test_other_labels_are_as_they_are(self) -> None:
        metrics = Metrics(max_names=0)
        metrics.increment(RPC_REQUESTS, "/a.B/C", "OK")
        assert 'method="/a.B/C"' in page(metrics)


def test_a_metric_can_be_shown_before_it_is_used() -> None:
    metrics = Metrics()
    metrics.show(RUNS_ACTIVE, BUDGET_OVERRUNS)
    assert "agent_executor_runs_active 0.0" in page(metrics)
    assert "agent_executor_budget_overruns_total 0.0" in page(metrics)


def test_a_gauge_can_be_changed() -> None:
    metrics = Metrics()
    for change in (1, 1, -1):
        metrics.add_to_gauge(RUNS_ACTIVE, change)
    assert "agent_executor_runs_active 1.0" in page(metrics)


def test_a_wrong_number_of_labels_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        Metrics().increment(AGENT_TOKENS, "a", "b")


def test_names_are_unique() -> None:
    assert len({definition.name for definition in DEFINITIONS}) == len(DEFINITIONS)


class TestServing:
    def fetch(self, port: int, accept: str) -> tuple[str, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/metrics", headers={"accept": accept}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.headers["content-type"], response.read().decode()

    def test_both_formats_are_served(self) -> None:
        metrics = Metrics()
        metrics.observe(RPC_DURATION, 0.2, "/a.B/C", span_context=SAMPLED)
        with metrics_served(metrics, "127.0.0.1", 0) as port:
            plain_type, plain = self.fetch(port, "text/plain")
            open_type, open_text = self.fetch(port, "application/openmetrics-text; version=1.0.0")
        assert plain_type.startswith("text/plain")
        assert "trace_id" not in plain
        assert open_type.startswith("application/openmetrics-text")
        assert "trace_id" in open_text
        assert open_text.endswith("# EOF\n")

    def test_a_taken_port_is_a_sentence(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with (
                pytest.raises(
                    StartupError, match=rf"127\.0\.0\.1:{port}: Address already in use\.$"
                ),
                metrics_served(Metrics(), "127.0.0.1", port),
            ):
                pass

    def test_the_port_is_free_afterwards(self) -> None:
        with metrics_served(Metrics(), "127.0.0.1", 0) as port:
            pass
        with socket.create_server(("127.0.0.1", port)):
            pass
