"""From a cancellation to quiet, through Envoy and real processes, seen from outside.

Two executors share a journal, so that about every other request comes in at the one that does not
drive the run. Quiet is: the model's connection is closed, as mock Claude over HTTP sees it; no process
of the sandbox runs the tool; nothing is held at the ledger. Prints p50, p99 and the longest, in
milliseconds, of each, of all together, and of the answer with its receipt, for runs during a model
call, a tool call, and both of several runs in a tree. Runs with a tool have a limit of their own, so
that something is held for them too while they make no model call.

    python -m tests.bench.bench_cancel [--runs N]
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.agents_and_runs import create_agent
from tests.e2e.cancelling import (
    LONG_QUESTION,
    SlowClaude,
    busy_workers,
    cancel,
    holding_source,
    holds_memory,
    platform_on,
    put_budget,
    reserved_nano_usd,
    slow_claude,
    unfinished,
)
from tests.e2e.custom_tools import create_custom_agent, register
from tests.platforms import Client, RunningPlatform, until

LIMIT_MS = 1_000
LIMIT_USD = 100.0
TOOL_QUESTION = "Test the custom_tool tool"
WATCH_SECONDS = 0.005
GIVE_UP_SECONDS = 30.0


@dataclass
class Stage:
    """A platform, and what is looked at."""

    platform: RunningPlatform
    claude: SlowClaude
    client: Client
    writer: str = ""
    tool_user: str = ""
    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    def signs(self) -> dict[str, Callable[[], bool]]:
        """Returns what is there now and must go, by name."""
        # To look for them again and again would take more time than they do to end.
        workers = busy_workers(self.platform)
        signs: dict[str, Callable[[], bool]] = {
            "model connection closed": lambda: self.claude.open_calls() > 0,
            "sandbox process gone": lambda: any(map(holds_memory, workers)),
            "nothing reserved": lambda: reserved_nano_usd(self.client) > 0,
        }
        return {name: sign for name, sign in signs.items() if sign()}

    def start(self, agent_id: str, text: str, **fields: Any) -> str:
        """Starts a run in the background."""
        answer = self.client.post(f"/api/v1/agents/{agent_id}/runs", {"input": text, **fields})
        assert answer.status == 200, answer.content
        return str(answer.body["id"])

    def measure(self, begin: Callable[[], str]) -> None:
        """Cancels a run and takes the times at which each sign of it is gone."""
        run_id, signs = begin(), self.signs()
        assert "nothing reserved" in signs, "nothing is held for a run under way"
        gone_at: dict[str, float] = {}
        watchers = [
            threading.Thread(target=_watch, args=(name, sign, gone_at))
            for name, sign in signs.items()
        ]
        began = time.monotonic()
        for watcher in watchers:
            watcher.start()
        receipt = cancel(self.client, run_id)
        gone_at["receipt"] = time.monotonic()
        for watcher in watchers:
            watcher.join()
        assert receipt["was_stopped"], receipt
        quiet_at = max(at for name, at in gone_at.items() if name != "receipt")
        for name, at in (*gone_at.items(), ("quiet", quiet_at)):
            self.milliseconds.setdefault(name, []).append(1000 * (at - began))

    def writing(self, **fields: Any) -> str:
        """Begins a run that is in its model call."""
        before = self.claude.open_calls()
        run_id = self.start(self.writer, LONG_QUESTION, **fields)
        until(lambda: self.claude.open_calls() > before)
        return run_id

    def using_a_tool(self, max_cost_usd: float = LIMIT_USD, **fields: Any) -> str:
        """Begins a run that is in its tool call."""
        before = len(busy_workers(self.platform))
        fields["max_cost_usd"] = max_cost_usd
        run_id = self.start(self.tool_user, TOOL_QUESTION, **fields)
        until(lambda: len(busy_workers(self.platform)) > before)
        return run_id

    def tree(self) -> str:
        """Begins a run with two others that it has started."""
        root = self.using_a_tool()
        self.writing(parent_run_id=root)
        self.using_a_tool(LIMIT_USD / 10, parent_run_id=root)
        return root


def _watch(name: str, sign: Callable[[], bool], gone_at: dict[str, float]) -> None:
    """Takes the time at which a sign is gone."""
    until_at = time.monotonic() + GIVE_UP_SECONDS
    while sign():
        assert time.monotonic() < until_at, f"never: {name}"
        time.sleep(WATCH_SECONDS)
    gone_at[name] = time.monotonic()


def percentile(values: list[float], percent: float) -> float:
    """Returns a percentile of values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def main() -> int:
    """Measures, prints, and fails if quiet comes too late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    worst = 0.0
    print(f"{runs} runs of each kind, 2 executors, load {os.getloadavg()[0]:.1f}")
    with slow_claude(0.1) as claude, platform_on(claude, workers=2) as platform:
        stage = Stage(platform, claude, platform.client())
        put_budget(stage.client)
        stage.writer = create_agent(stage.client, tools={}, name="Writer")
        register(stage.client, holding_source())
        stage.tool_user = create_custom_agent(stage.client)
        kinds = {"model call": stage.writing, "tool call": stage.using_a_tool, "tree": stage.tree}
        for kind, begin in kinds.items():
            stage.milliseconds = {}
            for _ in range(runs):
                stage.measure(begin)
            assert not unfinished(stage.client)
            print(kind)
            for name, values in sorted(stage.milliseconds.items()):
                p50, p99 = percentile(values, 50), percentile(values, 99)
                figures = f"p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   longest {max(values):7.1f} ms"
                print(f"  {name:26s} {figures}")
            worst = max(worst, percentile(stage.milliseconds["quiet"], 99))
    print(f"cancel to quiet, p99 of the worst kind: {worst:.0f} ms (at most {LIMIT_MS} ms)")
    return int(worst > LIMIT_MS)


if __name__ == "__main__":
    raise SystemExit(main())
