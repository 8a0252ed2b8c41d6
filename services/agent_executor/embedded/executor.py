"""The library's public classes."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from agent_executor.embedded.assembly import Assembly
from agent_executor.embedded.configuration import (
    agent_fields,
    enabled_tools,
    model_of,
    tool_registry,
)
from agent_executor.embedded.peers import with_permissions
from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.models.catalog import LLMModel
from agent_executor.executor.money import nano_usd_of
from agent_executor.executor.result import result_mapping
from agent_executor.executor.run_options import RunOptions
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.egress_settings import EgressSettings
from agent_executor.tool_runner.policy.sandbox import ToolSandbox
from agent_executor.tool_runner.policy.security_mapping import parse_security_context
from agent_executor.tool_runner.registry import ToolRegistry

T = TypeVar("T")

DEFAULT_ORGANIZATION: Final = "default"
DEFAULT_USER: Final = "local"
EVERYTHING: Final = frozenset({"*"})

_STARTING: Final = threading.Lock()


class AsyncAgentExecutor:
    """One agent, run in this process. Its calls may overlap; await them from any event loop.

    Args:
        agent_config: ``name`` (required); ``role``, ``instructions``, ``description``;
            ``tools``, tool name to whether it is enabled; ``custom_tools``, tool name to
            ``{"class": ..., "enabled": ...}``, where the class is a subclass of ``ToolBase`` of
            this program or its name; ``max_model_turns``, ``max_output_tokens``;
            ``on_budget_exceeded``, ``"end"`` (default) or ``"pause"``; ``max_cost_usd``, what one
            run may cost at most (default 0: no limit); ``min_output_tokens``, the least output with
            which a model call makes sense, if the budget does not cover ``max_output_tokens``
            (default 0: all or nothing).
        model: The model to run on: an ``LLMModel`` or any id that has a price.
        sandbox: Rate limits and allowed domains of its tools. Default: none of either.
        security_context: On whose behalf, as a mapping with ``user_id``, ``organization_id``,
            ``permissions`` and ``rate_limit``. Default: everything is permitted.
        data_dir: A folder to keep runs, audit log and ledger in. Default: in memory.

    Attributes:
        model: As given, an ``LLMModel`` if it is a known one.
        tools: The enabled tools, by name.

    Raises:
        InvalidArgumentError: The configuration or security context is wrong.
        ToolNotFoundError: A tool is enabled that there is not.
    """

    def __init__(
        self,
        agent_config: Mapping[str, Any],
        model: LLMModel | str,
        *,
        sandbox: ToolSandbox | None = None,
        security_context: Mapping[str, Any] | None = None,
        data_dir: Path | str | None = None,
    ) -> None:
        self.model = model_of(model)
        self._fields = {**agent_fields(agent_config), "model": str(self.model)}
        self._security = SecurityContext(DEFAULT_ORGANIZATION, DEFAULT_USER, EVERYTHING)
        rate_limits: Mapping[str, int] = {}
        if security_context is not None:
            self._security, rate_limits = parse_security_context(security_context)
        sandbox = sandbox or ToolSandbox()
        http_request = EgressSettings.of_environment("http_request").http_request_tool(sandbox)
        registry = tool_registry(agent_config, http_request)
        self.tools = enabled_tools(self._fields, registry)
        folder = None if data_dir is None else Path(data_dir)
        _loop_runs(self._assemble(registry, http_request, sandbox, rate_limits, folder))

    async def execute(
        self,
        input: str,  # noqa: A002 -- the word of the public API
        *,
        parent_run_id: str = "",
        max_cost_usd: float = 0.0,
        conversation_id: str = "",
    ) -> dict[str, Any]:
        """Runs the agent and returns what came of it; see ``executor.result.result_mapping``.

        A run that fails is answered too, with its ``state``, ``error`` and ``code``.

        Args:
            input: What is asked of the agent.
            parent_run_id: The run, under way in the same ``data_dir``, that starts this one; this one
                draws from what is held for that one. Default: none.
            max_cost_usd: What the run may cost at most, in US dollars, 0 to 9,000,000. Default (0):
                the agent's ``max_cost_usd``; of both the lower one holds.
            conversation_id: The conversation that the run continues, 1 to 128 bytes of your choice;
                it begins with its first run, and has one run at a time. Default: the run stands
                alone. Conversations last as long as the ``data_dir``, or as this executor.

        Raises:
            InvalidArgumentError: The input is no text, or empty; or the limit cannot be.
            RunNotFoundError: There is no such parent.
            RunFinishedError: The parent has ended.
            LimitExceededError: Too many runs are under way.
            ConflictError: Another run of the conversation is under way.
        """
        running = self._execute(input, parent_run_id, max_cost_usd, conversation_id)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(running, _event_loop()))

    async def close(self) -> None:
        """Waits for nothing and releases what the executor holds open."""
        await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._assembly.close(), _event_loop())
        )

    async def __aenter__(self) -> Self:
        """Returns itself."""
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        await self.close()

    async def _execute(
        self,
        text: str,
        parent_run_id: str = "",
        max_cost_usd: float = 0.0,
        conversation_id: str = "",
    ) -> dict[str, Any]:
        if not isinstance(text, str) or not text:  # type: ignore[redundant-expr]  # as above
            raise InvalidArgumentError("The input must be a text that is not empty.")
        if not _is_unicode(text):
            raise InvalidArgumentError(
                "The input holds half of a surrogate pair, which is no text."
            )
        security = with_permissions(self._security, frozenset({"run:execute"}))
        return result_mapping(
            await self._assembly.runs.execute(
                self._agent.agent_id,
                text,
                security,
                RunOptions(
                    parent_run_id=parent_run_id,
                    max_cost_nano_usd=nano_usd_of(max_cost_usd, "max_cost_usd"),
                    conversation_id=conversation_id,
                ),
            )
        )

    async def _assemble(
        self,
        registry: ToolRegistry,
        http_request: HTTPRequestTool,
        sandbox: ToolSandbox,
        rate_limits: Mapping[str, int],
        data_dir: Path | None,
    ) -> None:
        self._assembly = Assembly(registry, http_request, sandbox, rate_limits, data_dir)
        creator = with_permissions(self._security, frozenset({"agent:write"}))
        self._agent = await self._assembly.agents.create(self._fields, "", creator)


class AgentExecutor:
    """One agent, run in this process; the same as ``AsyncAgentExecutor`` without ``await``."""

    def __init__(
        self,
        agent_config: Mapping[str, Any],
        model: LLMModel | str,
        *,
        sandbox: ToolSandbox | None = None,
        security_context: Mapping[str, Any] | None = None,
        data_dir: Path | str | None = None,
    ) -> None:
        """See ``AsyncAgentExecutor``."""
        self._executor = AsyncAgentExecutor(
            agent_config,
            model,
            sandbox=sandbox,
            security_context=security_context,
            data_dir=data_dir,
        )
        self.model = self._executor.model
        self.tools = self._executor.tools

    def execute(
        self,
        input: str,  # noqa: A002 -- the word of the public API
        *,
        parent_run_id: str = "",
        max_cost_usd: float = 0.0,
        conversation_id: str = "",
    ) -> dict[str, Any]:
        """Runs the agent and returns what came of it; see ``AsyncAgentExecutor.execute``."""
        running = self._executor._execute(input, parent_run_id, max_cost_usd, conversation_id)  # noqa: SLF001 -- its own other half
        return _loop_runs(running)

    def close(self) -> None:
        """Releases what the executor holds open."""
        _loop_runs(self._executor._assembly.close())  # noqa: SLF001 -- its own other half

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()


def _is_unicode(text: str) -> bool:
    """Tells whether a text can be written down; one of lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _event_loop() -> asyncio.AbstractEventLoop:
    """Returns the loop on which all runs of this process are driven, in a thread of its own."""
    # Of threads that come first at the same time only one may start it.
    with _STARTING:
        return _started_event_loop()


@functools.cache
def _started_event_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agent-executor", daemon=True).start()
    return loop


def _loop_runs(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on that loop and waits for it; interrupted, it cancels it.

    Raises:
        RuntimeError: It is called on that loop itself, by a tool that is a coroutine.
    """
    loop = _event_loop()
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 -- documented, for event loops' code
        coroutine.close()
        raise RuntimeError(
            "A coroutine of a tool cannot wait for an agent, since both need the same event loop;"
            " let its _execute_impl be a plain def."
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    finally:
        future.cancel()
