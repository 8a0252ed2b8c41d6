"""What tests of cancellations see from outside: the model's connections, the sandbox, the money."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.agents_and_runs import pages
from tests.e2e.custom_tools import source_of
from tests.platforms import (
    Answer,
    Client,
    RunningPlatform,
    children_of,
    command_environment,
    running_platform,
)

BUDGET = "everything"
# By so much memory a worker that runs the tool is told from all that wait for a call.
HELD_BYTES = 90_000_000
TOKEN_DELAY_SECONDS = 0.3
PATIENCE_SECONDS = 30.0
# Its answer takes minutes.
LONG_QUESTION = " ".join(f"What is {number} + {number}?" for number in range(300))
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def holding_source(seconds: float = 60.0, *, effect: str = "unsafe") -> str:
    """Returns the source of a custom tool that holds memory and does nothing for so long."""
    return source_of(
        f"import time\nheld = b'x' * {HELD_BYTES}\ntime.sleep({seconds})\nreturn len(held)",
        effect=effect,
    )


class PatientClient(Client):
    """Asks again when it is answered 503 and told when to: a process was killed just then.

    Its calls may all be repeated.
    """

    def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """See ``Client``."""
        gives_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = Client.call(self, method, path, body, headers=headers)
            retry_after = answer.headers["retry-after"]
            is_told_to = answer.status == 503 and retry_after is not None
            if not is_told_to or time.monotonic() > gives_up_at:
                return answer
            time.sleep(int(retry_after))


@dataclass(frozen=True, slots=True)
class SlowClaude:
    """Mock Claude over HTTP, which writes slowly."""

    url: str

    def open_calls(self) -> int:
        """Returns how many calls are being answered now, that is whose connection is open."""
        return int(self._calls()["open"])

    def disconnected(self) -> int:
        """Returns how many callers went away before the end of their answer."""
        return int(self._calls()["disconnected"])

    def _calls(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/mock/calls") as response:
            return json.load(response)


@contextlib.contextmanager
def slow_claude(token_delay_seconds: float = TOKEN_DELAY_SECONDS) -> Iterator[SlowClaude]:
    """Runs mock Claude as a process."""
    command = [sys.executable, "-m", "agent_executor.cli", "mock-claude", "--port", "0"]
    with subprocess.Popen(
        [*command, "--token-delay-seconds", str(token_delay_seconds)],
        env=command_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready, url = process.stdout.readline().split()
            assert ready == "ready"
            yield SlowClaude(url)
        finally:
            process.terminate()


@contextlib.contextmanager
def platform_on(
    claude: SlowClaude, *, workers: int = 1, **environment: str
) -> Iterator[RunningPlatform]:
    """Runs a platform whose model is a mock Claude over HTTP."""
    with running_platform(
        workers=workers,
        tool_runners=1,
        ledgers=1,
        tls=False,
        EXECUTOR_MODEL_PROVIDER="anthropic",
        ANTHROPIC_API_KEY="any",
        ANTHROPIC_BASE_URL=claude.url,
        EXECUTOR_EGRESS_ALLOWED_CIDRS='["127.0.0.1/32"]',
        **environment,
    ) as platform:
        yield platform


def busy_workers(platform: RunningPlatform) -> list[int]:
    """Returns the processes of the sandbox that run the tool that holds memory."""
    waiting = [platform.pids()["tool-runner"]]
    found: list[int] = []
    while waiting:
        children = children_of(waiting.pop())
        waiting += children
        found += filter(holds_memory, children)
    return found


def holds_memory(pid: int) -> bool:
    """Tells whether a process runs the tool."""
    return _resident_bytes(pid) >= HELD_BYTES


def _resident_bytes(pid: int) -> int:
    # A process may end while it is looked at.
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return 0


def put_budget(client: Client, limit_usd: float = 1_000.0) -> None:
    """Sets the limit of a whole organization."""
    answer = client.put(f"/api/v1/budgets/{BUDGET}", {"limit_usd": limit_usd})
    assert answer.status == 200, answer.content


def reserved_nano_usd(client: Client) -> int:
    """Returns what is held for calls under way."""
    answer = client.get(f"/api/v1/budgets/{BUDGET}")
    assert answer.status == 200, answer.content
    return int(answer.body["reserved_nano_usd"])


def cancel(client: Client, run_id: str, reason: str = "") -> dict[str, Any]:
    """Ends a run and returns the receipt."""
    answer = client.post(f"/api/v1/runs/{run_id}/cancel", {"reason": reason})
    assert answer.status == 200, answer.content
    receipt: dict[str, Any] = answer.body
    return receipt


def unfinished(client: Client) -> list[str]:
    """Returns the runs that have not ended."""
    return [
        run["id"]
        for state in ("pending", "running", "waiting", "paused")
        for run in pages(client, f"/api/v1/runs?state={state}", "runs")
    ]
