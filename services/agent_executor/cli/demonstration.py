"""Starts a platform, runs an agent through it, shows what happened and stops it again."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from agent_executor.cli.demo_report import Demonstration, show
from agent_executor.cli.environment import inherited_environment
from agent_executor.cli.issuer import TokenClaims
from agent_executor.cli.otlp_receiver import OtlpReceiver, ReceivedSpan
from agent_executor.cli.platform import Platform, PlatformError, PlatformOptions
from agent_executor.cli.ports import PortError, free_ports
from agent_executor.cli.progress import Progress
from agent_executor.cli.rest import RestClient, RestError
from agent_executor.cli.supervisor import CrashLoopError
from agent_executor.cli.timeline import is_whole
from agent_executor.serving.semantic_conventions import OPERATION_EXECUTE_TOOL

QUESTION = "What is 15 + 27?"
AGENT = {
    "name": "Math Assistant",
    "role": "math expert",
    "instructions": ("You are a math expert. Use the calculator tool for arithmetic operations."),
    "model": "claude-sonnet-4-20250514",
    "tools": {"calculator": True},
}
ENTRIES_TIMEOUT_SECONDS = 10.0
SPANS_TIMEOUT_SECONDS = 15.0
_POLL_SECONDS = 0.05
_PLAIN_WIDTH = 132


def demonstrate() -> int:
    """Makes the demonstration on free ports and in a temporary folder.

    Returns:
        The command's exit code: 0 if the run was shown, 1 if something failed.
    """
    return asyncio.run(_run())


async def _run() -> int:
    messages = Console(stderr=True)
    progress = Progress(messages)
    with (
        tempfile.TemporaryDirectory(prefix="agent-executor-demo-") as folder,
        OtlpReceiver() as receiver,
    ):
        try:
            demonstration = await _demonstrate(Path(folder), receiver, progress)
        except (CrashLoopError, PlatformError, PortError, RestError, OSError) as error:
            progress.close()
            messages.print(
                f"agent-executor: {error}",
                style="red",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            return 1
        finally:
            progress.close()
    console = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)
    show(demonstration, console)
    return 0


async def _demonstrate(folder: Path, receiver: OtlpReceiver, progress: Progress) -> Demonstration:
    """Starts a platform, makes one run on it and stops it again."""
    environment = inherited_environment(dotenv_file=None) | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "EXECUTOR_LOG_LEVEL": "warning",
        "TOOL_RUNNER_LOG_LEVEL": "warning",
        "LEDGER_LOG_LEVEL": "warning",
        "WEB_LOG_LEVEL": "warning",
    }
    options = PlatformOptions(data_dir=folder, ports=free_ports(), environment=environment)
    platform = Platform(options, on_event=progress.on_event, on_waiting=progress.on_waiting)
    ready, stop = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(platform.run(stop, ready.set))
    became_ready = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({running, became_ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        progress.close()
        return await asyncio.to_thread(_execute, platform.client(TokenClaims()), receiver)
    finally:
        became_ready.cancel()
        stop.set()
        await running


def _execute(client: RestClient, receiver: OtlpReceiver) -> Demonstration:
    """Runs the agent and gathers what its run left in the ledger and in the traces."""
    agent = client.post("/api/v1/agents", AGENT)
    run = client.post(f"/api/v1/agents/{agent['id']}/execute", {"input": QUESTION})
    entries = _entries(client, run)
    tool_calls = len(run["output"]["tool_results"])
    receiver.wait_for(
        lambda spans: _is_complete(_trace_of_run(spans), tool_calls),
        timeout_seconds=SPANS_TIMEOUT_SECONDS,
    )
    return Demonstration(run=run, entries=entries, spans=_trace_of_run(receiver.spans()))


def _entries(client: RestClient, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Reads the run's ledger entries, once they add up to what the run says it cost."""
    deadline = time.monotonic() + ENTRIES_TIMEOUT_SECONDS
    while True:
        page = client.get(f"/api/v1/usage/entries?run_id={run['task_id']}")
        entries: list[dict[str, Any]] = page["entries"]
        total = sum(int(entry["cost_nano_usd"]) for entry in entries)
        if total == int(run["cost_nano_usd"]) or time.monotonic() > deadline:
            return entries
        time.sleep(_POLL_SECONDS)


def _is_complete(trace: list[ReceivedSpan], tool_calls: int) -> bool:
    """Tells whether every process has sent its spans; nothing refers to those of the tools."""
    executed = sum(span.name.startswith(OPERATION_EXECUTE_TOOL) for span in trace)
    return is_whole(trace) and executed == tool_calls


def _trace_of_run(spans: list[ReceivedSpan]) -> list[ReceivedSpan]:
    """Picks the spans of the trace in which the agent was executed."""
    for span in spans:
        if span.service == "gateway" and span.name.endswith("/ExecuteAgent"):
            return [other for other in spans if other.trace_id == span.trace_id]
    return []
