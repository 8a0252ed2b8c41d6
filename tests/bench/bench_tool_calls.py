"""What a call of a custom tool costs beside one of a tool in the tool-runner's own process.

Over the gRPC stream, to a real tool-runner in a process of its own, with grants, the durable record
and the audit log. Prints latencies, rates and CPU-milliseconds per call of the tool-runner with its
launchers and workers: of warm calls, one at a time with a pause in which the pool fills again, and
of 1, 16 and 64 calls in flight without a pause. The tools take turns, so that whatever else the
machine does meets all of them; every answer is checked. The goal: a warm call is in the median at
most 1 ms slower than one of the tool in process, and 2 cores make at least 400 sandboxed calls per
second.

    python -m tests.bench.bench_tool_calls [--calls N] [--in-flight N ...] [--turns N]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from agent_executor.api.tool_runner.v1 import tool_service_pb2
from tests.integration.tool_runner.running_tool_runner import (
    Caller,
    Platform,
    environment_of,
    make_request,
)
from tests.platforms import children_of

GOAL_MS = 1.0
GOAL_CALLS_PER_SECOND = 400
PAUSE_SECONDS = 0.02
WARM_CALLS = 600
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ARGUMENTS_JSON = '{"operation":"add","a":15,"b":27}'
SOURCE = """
from agent_executor import ToolBase


class Adder(ToolBase):
    def __init__(self):
        super().__init__("{name}", "Adds.", effect="{effect}")

    def _execute_impl(self, arguments):
        return {{"result": arguments["a"] + arguments["b"]}}
"""
IN_PROCESS = "calculator"
SANDBOXED = {"sandboxed_reader": "read_only", "sandboxed_writer": "unsafe"}
_IDS = itertools.count()


@dataclass
class Figures:
    """What the calls of one tool came to at one number in flight."""

    latencies_ms: list[float] = field(default_factory=list)
    elapsed_seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def calls_per_second(self) -> float:
        """The rate over all turns."""
        return len(self.latencies_ms) / self.elapsed_seconds

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    def row(self, load: str, name: str) -> str:
        """The figures as a line."""
        p50, p95, p99 = map(self.percentile_ms, (50, 95, 99))
        cpu_ms = 1000 * self.cpu_seconds / len(self.latencies_ms)
        return (
            f"{load:12}  {name:16} p50 {p50:6.2f} ms  p95 {p95:6.2f}  "
            f"p99 {p99:6.2f}  {self.calls_per_second:6.0f} calls/s  {cpu_ms:5.2f} CPU-ms per call"
        )


def tree_of(pid: int) -> Iterator[int]:
    """Yields a process and everything below it."""
    yield pid
    for child in children_of(pid):
        yield from tree_of(child)


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process and everything below it, the dead included."""
    ticks = 0
    for each in tree_of(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        # User and system time, its own and that of the children that it has waited for.
        ticks += sum(int(value) for value in fields[11:15])
    return ticks / TICKS_PER_SECOND


@dataclass
class Bench:
    """A running tool-runner and its caller."""

    pid: int
    platform: Platform
    caller: Caller

    async def register(self) -> None:
        """Registers the tools that run in the sandbox."""
        for name, effect in SANDBOXED.items():
            await self.caller.tools.CreateTool(
                tool_service_pb2.CreateToolRequest(
                    name=name, class_name="Adder", source=SOURCE.format(name=name, effect=effect)
                ),
                metadata=self.platform.token("tool:*"),
                wait_for_ready=True,
            )

    async def call(self, tool_name: str) -> float:
        """Makes a call and returns how long it took, in milliseconds."""
        request = make_request(tool_name, ARGUMENTS_JSON, f"call-{next(_IDS)}")
        grant = self.platform.grant(request)
        started = time.perf_counter()
        answer = await self.caller.execute("stream", request, grant)
        elapsed_ms = 1000 * (time.perf_counter() - started)
        assert '"result":42' in answer.result_json, answer
        return elapsed_ms

    async def turn(
        self, tool_name: str, in_flight: int, calls: int, figures: Figures, pause: float = 0.0
    ) -> None:
        """Makes so many calls, so many at a time, and adds what they came to."""

        async def caller() -> None:
            for _ in range(calls // in_flight):
                figures.latencies_ms.append(await self.call(tool_name))
                if pause:
                    await asyncio.sleep(pause)

        cpu_before, started = cpu_seconds(self.pid), time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        figures.elapsed_seconds += time.perf_counter() - started
        figures.cpu_seconds += cpu_seconds(self.pid) - cpu_before
        # The pool fills again before the next turn, at whose cost it would be otherwise.
        await asyncio.sleep(0.1)


async def measure(
    bench: Bench, in_flight: int, calls: int, turns: int, pause: float = 0.0
) -> dict[str, Figures]:
    """Measures every tool at one load, and prints it."""
    tools = (IN_PROCESS, *SANDBOXED)
    figures = {name: Figures() for name in tools}
    for _ in range(turns):
        for name in tools:
            await bench.turn(name, in_flight, calls // turns, figures[name], pause)
    load = "warm" if pause else f"{in_flight} in flight"
    for name in tools:
        print(figures[name].row(load, name))
    here, there = figures[IN_PROCESS], figures["sandboxed_reader"]
    print(
        f"    sandboxed / in process: p50 {there.percentile_ms(50) / here.percentile_ms(50):.2f}, "
        f"calls/s 1/{here.calls_per_second / there.calls_per_second:.1f}, "
        f"CPU {there.cpu_seconds / here.cpu_seconds:.1f}"
    )
    return figures


async def measure_all(bench: Bench, options: argparse.Namespace) -> None:
    """Measures every load, and says whether the goals are met."""
    for name in (IN_PROCESS, *SANDBOXED):
        await bench.turn(name, 16, 320, Figures())
    warm = await measure(bench, 1, WARM_CALLS, options.turns, PAUSE_SECONDS)
    rates = [
        (await measure(bench, number, options.calls, options.turns))["sandboxed_reader"]
        for number in options.in_flight
    ]
    more_ms = warm["sandboxed_reader"].percentile_ms(50) - warm[IN_PROCESS].percentile_ms(50)
    rate = max(figures.calls_per_second for figures in rates)
    print(
        f"goal +{GOAL_MS:g} ms: {'met' if more_ms <= GOAL_MS else 'missed'} with {more_ms:+.2f} ms"
    )
    is_met = rate >= GOAL_CALLS_PER_SECOND
    print(f"goal {GOAL_CALLS_PER_SECOND}/s: {'met' if is_met else 'missed'} with {rate:.0f}/s")


async def run(options: argparse.Namespace) -> None:
    """Starts a tool-runner and measures it."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        platform = Platform.in_folder(data_dir)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent_executor.tool_runner"),
            env=environment_of(data_dir) | {"TOOL_RUNNER_GRPC_PORT": str(options.port)},
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        caller = Caller(options.port)
        bench = Bench(process.pid, platform, caller)
        try:
            await bench.register()
            await measure_all(bench, options)
        finally:
            await caller.close()
            process.terminate()
            await process.wait()


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1920, help="of each tool at each number")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--port", type=int, default=53051)
    uvloop.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
