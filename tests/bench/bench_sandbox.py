"""What the sandbox costs: a call of a custom tool in it, and what else one could do instead.

Run by hand: ``python -m tests.bench.bench_sandbox [calls]``. The same tool with the same arguments
runs in this process, in the sandbox, in a new Python for each call, and in a new Python inside
bubblewrap where that is installed. Latencies are of calls one at a time, with a pause in which the
pool fills again; rates are of 16 callers at once.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

import agent_executor
from agent_executor.tool_runner.arguments import parse_arguments
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.pool import WorkerPool
from agent_executor.tool_runner.policy.call_policy import Admitted
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_base import ToolBase
from agent_executor.tool_runner.tool_program import ToolProgram

SOURCE = """
from agent_executor import ToolBase


class PriceOfBasket(ToolBase):
    def __init__(self):
        super().__init__(
            name="price_of_basket",
            description="Adds up a basket.",
            input_schema={"type": "object", "properties": {"items": {"type": "array"}}},
        )

    def _execute_impl(self, arguments):
        total = 0
        lines = []
        for item in arguments["items"]:
            price = item["price_cents"] * item["count"]
            total += price
            lines.append(f"{item['count']} x {item['name']}: {price / 100:.2f}")
        return {"total_cents": total, "lines": lines}
"""
PROGRAM = ToolProgram("price_of_basket", SOURCE, "PriceOfBasket")
ARGUMENTS = json.dumps(
    {"items": [{"name": f"article {n}", "price_cents": 99 + n, "count": n} for n in range(10)]}
)
FRESH_PYTHON = f"""
import json, sys
sys.path.append({str(Path(agent_executor.__file__).parent.parent)!r})
namespace = {{}}
exec(compile(sys.stdin.readline().encode().decode("unicode_escape"), "tool", "exec"), namespace)
print(json.dumps(namespace["PriceOfBasket"]()._execute_impl(json.loads(sys.stdin.readline()))))
"""
FRESH_INPUT = SOURCE.encode("unicode_escape") + b"\n" + ARGUMENTS.encode() + b"\n"
BWRAP = ("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--")
CALLERS = 16
PAUSE_SECONDS = 0.02

Call = Callable[[], Awaitable[object]]


def print_latencies(name: str, seconds: list[float], in_process_ms: float | None) -> float:
    """Print quantiles, and return the median in milliseconds."""
    ordered = sorted(seconds)
    quantiles = [1000 * ordered[len(ordered) * percent // 100] for percent in (50, 95, 99)]
    line = "  ".join(
        f"{label} {value:7.3f} ms"
        for label, value in zip(("p50", "p95", "p99"), quantiles, strict=True)
    )
    more = "" if in_process_ms is None else f"  in-process + {quantiles[0] - in_process_ms:.3f} ms"
    print(f"{name:16} {line}{more}", flush=True)
    return quantiles[0]


async def latencies(call: Call, calls: int) -> list[float]:
    """Return how long each call takes, one at a time."""
    seconds = []
    for _ in range(calls):
        await asyncio.sleep(PAUSE_SECONDS)
        started = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - started)
    return seconds


async def rate(call: Call, calls: int) -> float:
    """Return the calls per second of several callers."""

    async def caller() -> None:
        for _ in range(calls // CALLERS):
            await call()

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return calls // CALLERS * CALLERS / (time.perf_counter() - started)


def cpu_seconds() -> float:
    """Return what this process and its children that have ended have computed."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def in_process_call() -> Call:
    """Return a call of the same tool by the dispatcher, in this process."""
    namespace: dict[str, type[ToolBase]] = {}
    exec(SOURCE, namespace)
    registry = ToolRegistry()
    tool_class = namespace["PriceOfBasket"]
    tool_class.runs_inline = True
    registry.register(tool_class())  # type: ignore[call-arg]  # a custom tool's takes none
    tool = registry.find("price_of_basket")
    assert tool is not None
    dispatcher, context = Dispatcher(), CallContext("acme", tool.name, "call-1")

    async def call() -> str:
        arguments = parse_arguments(ARGUMENTS, size_bytes=len(ARGUMENTS), size_bytes_max=1 << 20)
        return await dispatcher.run(Admitted(tool, arguments, "read_only", context), 30)

    return call


def fresh_python_call(prefix: tuple[str, ...] = ()) -> Call:
    """Return a call of the same tool in a Python of its own."""
    command = (*prefix, sys.executable, "-I", "-S", "-c", FRESH_PYTHON)

    async def call() -> bytes:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await process.communicate(FRESH_INPUT)
        assert b"total_cents" in answer
        return answer

    return call


async def measure_cold_start(times: int) -> None:
    """Print how long it takes from nothing to the first result, attacks included."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        pool = WorkerPool()
        await pool.start()
        await pool.call(PROGRAM, ARGUMENTS, timeout_seconds=30)
        seconds.append(time.perf_counter() - started)
        await pool.close()
    print_latencies("cold start", seconds, None)


async def measure_sandbox(calls: int, in_process_ms: float) -> tuple[float, float]:
    """Print what the sandbox takes, and return its median latency and its rate."""
    cpu_before = cpu_seconds()
    pool = WorkerPool(SandboxLimits())
    await pool.start()
    print(f"tier {pool.status.tier}, {len(pool.launcher_pids)} launchers")

    async def call() -> str:
        return await pool.call(PROGRAM, ARGUMENTS, timeout_seconds=30)

    # Each measured between two of the others, so that all meet the same other load.
    median = print_latencies("sandbox", await latencies(call, calls), in_process_ms)
    per_second = await rate(call, 4 * calls)
    await pool.close()
    cpu_ms = 1000 * (cpu_seconds() - cpu_before) / (5 * calls)
    print(f"sandbox: {per_second:,.0f} calls/s by {CALLERS} callers, {cpu_ms:.2f} CPU-ms per call")
    return median, per_second


async def main(calls: int) -> None:
    await measure_cold_start(max(5, calls // 50))
    in_process = in_process_call()
    in_process_ms = print_latencies("in-process", await latencies(in_process, calls), None)
    sandbox_ms, sandbox_rate = await measure_sandbox(calls, in_process_ms)
    others = {"python": fresh_python_call()}
    if shutil.which("bwrap"):
        others["bwrap + python"] = fresh_python_call(BWRAP)
    else:
        print("bwrap is not installed, so bwrap + python is not measured")
    for name, call in others.items():
        median = print_latencies(name, await latencies(call, calls // 4), in_process_ms)
        per_second = await rate(call, calls // 4)
        print(
            f"{name}: {per_second:,.0f} calls/s; the sandbox answers {median / sandbox_ms:.1f} "
            f"times as fast, {sandbox_rate / per_second:.1f} times as often"
        )


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
