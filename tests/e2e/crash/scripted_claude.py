"""Claude over HTTP, in a thread of the test's own process: answers by a script, and counts.

The script is in what is asked: ``NAME put_it,get_it/post_it`` makes two tool calls in the first turn,
in parallel, one in the second, and then answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from agent_executor.executor.models.mock_http.api import MockApi
from agent_executor.executor.models.mock_http.faults import FaultPlan
from agent_executor.executor.models.mock_http.server import HttpServer
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    Message,
    ModelAccess,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ResponseBlock,
    TextBlock,
    ToolUseBlock,
)

LATENCY_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of the model: which run's which turn, and when it came, since 1970-01-01 UTC."""

    name: str
    turn: int
    at_seconds: float


class ScriptedClaude:
    """See the module.

    Attributes:
        url: Where it is.
        api: Counts what it would have billed.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.url = ""
        self.api = MockApi(self, FaultPlan({}), token_delay_seconds=LATENCY_SECONDS)
        self._asked: dict[str, list[Asked]] = defaultdict(list)

    @property
    def billed(self) -> int:
        """How many calls were billed, by the count that the product's own mock shows."""
        return self.api.calls.billed

    def asked(self, name: str) -> list[Asked]:
        """Returns the calls that were made for a run, in order."""
        return list(self._asked[name])

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        """See ``ModelProvider``."""
        at_seconds = time.time()
        index, text = _newest_question(request.messages)
        name, _, script = text.partition(" ")
        turns = [part.split(",") for part in script.split("/") if part]
        turn = len(request.messages) - index
        turn = turn // 2 + 1
        self._asked[name].append(Asked(name, turn, at_seconds))
        await asyncio.sleep(LATENCY_SECONDS)
        content: tuple[ResponseBlock, ...]
        if turn > len(turns):
            content = (TextBlock(f"{name} is done after {turn} turns."),)
            return ModelResponse(f"msg_{name}", request.model, content, "end_turn", _usage(turn))
        content = (
            TextBlock(f"Turn {turn} of {name}. "),
            *(
                ToolUseBlock(f"toolu_{turn}_{number}", tool, {"call": f"{name}-{turn}-{number}"})
                for number, tool in enumerate(turns[turn - 1])
            ),
        )
        return ModelResponse(f"msg_{name}", request.model, content, "tool_use", _usage(turn))


def _usage(turn: int) -> ModelUsage:
    return ModelUsage(input_tokens=100 * turn, output_tokens=10)


def _newest_question(messages: tuple[Message, ...]) -> tuple[int, str]:
    """Returns the place of what the run was asked, and its text."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "user" and isinstance(message.content[0], TextBlock):
            return index, message.content[0].text
    raise AssertionError("nothing was asked")


@contextlib.contextmanager
def scripted_claude() -> Iterator[ScriptedClaude]:
    """Serves it on a free port."""
    claude = ScriptedClaude()
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def serve() -> None:
        server = HttpServer(claude.api.handle)
        port = await server.start("127.0.0.1", 0)
        claude.url = f"http://127.0.0.1:{port}"
        ready.set()
        await stopped.wait()
        await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield claude
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()
