"""Whole runs with one tool call, through Envoy and the three services, durable and ledgered.

Prints runs per second, latencies, and CPU-milliseconds per run of each process, at 16 and 64
connections, without tracing, with a tenth of the runs traced, and with all; and, as ratios measured
in the same call, what tracing adds, and what the same run costs in the library in one process. Every
answer is checked.

    python -m tests.bench.bench_execute [--runs N] [--connections N ...] [--no-tracing]
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvloop

from agent_executor import AgentExecutor, LLMModel
from agent_executor.cli.otlp_receiver import OtlpReceiver
from tests.bench.load import Load, LoadResult, post
from tests.platforms import RunningPlatform, running_platform

QUESTION = "What is 15 + 27?"
EXPECTED = b'"state":"completed"'
AGENT = {
    "name": "Math Assistant",
    "role": "math expert",
    "instructions": "Use the calculator tool for arithmetic operations.",
    "tools": {"calculator": True},
}
WARM_UP_RUNS = 300
LIBRARY_RUNS = 300
TRACED_SHARES = (0.1, 1.0)
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time that a process has used, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


@contextmanager
def library_agent() -> Iterator[AgentExecutor]:
    """Yields the same agent in the library, in memory."""
    config = {**AGENT, "custom_tools": {}}
    with AgentExecutor(config, LLMModel.CLAUDE_SONNET_4) as executor:
        yield executor


def library_cpu_ms() -> float:
    """Returns the CPU-milliseconds of the same run in the library."""
    with library_agent() as executor:
        for _ in range(LIBRARY_RUNS):
            executor.execute(QUESTION)
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(LIBRARY_RUNS):
            assert executor.execute(QUESTION)["state"] == "completed"
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * used / LIBRARY_RUNS


def measure(platform: RunningPlatform, connections: int, runs: int) -> dict[str, float]:
    """Runs a load, prints a row of figures and returns the CPU-milliseconds by process."""
    agent_id = platform.client().post("/api/v1/agents", AGENT).body["id"]
    request = post(
        f"/api/v1/agents/{agent_id}/execute",
        platform.token(),
        b'{"input": "%s"}' % QUESTION.encode(),
    )
    uvloop.run(Load(request, EXPECTED, WARM_UP_RUNS).run(platform.http_port, connections))
    pids = platform.pids()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    result: LoadResult = uvloop.run(
        Load(request, EXPECTED, runs).run(platform.http_port, connections)
    )
    # What is still settling belongs to the runs as well.
    time.sleep(0.2)
    used = {
        name: 1000 * (cpu_seconds(pid) - before[name]) / result.requests
        for name, pid in pids.items()
    }
    parts = "  ".join(f"{name} {cpu:.2f}" for name, cpu in sorted(used.items()))
    print(
        f"{connections:4d} connections: {result.requests / result.elapsed_seconds:6.0f} runs/s, "
        f"p50 {result.percentile_ms(50):.1f} ms, p99 {result.percentile_ms(99):.1f} ms, "
        f"failures {result.failures}; CPU-ms per run {sum(used.values()):.2f}: {parts}"
    )
    return used


def measure_all(platform: RunningPlatform, connections: Sequence[int], runs: int) -> float:
    """Measures each load and returns the CPU-milliseconds per run of the last one."""
    return [sum(measure(platform, count, runs).values()) for count in connections][-1]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--no-tracing", action="store_true")
    options = parser.parse_args()
    print("not traced")
    with running_platform() as platform:
        untraced = measure_all(platform, options.connections, options.runs)
    for share in () if options.no_tracing else TRACED_SHARES:
        print(f"{share:.0%} of the runs traced")
        with (
            OtlpReceiver() as receiver,
            running_platform(
                OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_TRACES_SAMPLER_ARG=str(share)
            ) as platform,
        ):
            traced = measure_all(platform, options.connections, options.runs)
        print(f"traced / not traced at the last load: {traced / untraced:.2f}")
    library = library_cpu_ms()
    print(f"the same run in the library, one process, in memory: {library:.2f} CPU-ms")
    print(f"platform / library at the last load, not traced: {untraced / library:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
