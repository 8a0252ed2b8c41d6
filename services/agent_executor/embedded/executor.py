"""The library's public classes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from pydantic import SecretStr

from agent_executor.embedded.approvals import ProgramApprovals
from agent_executor.embedded.assembly import Assembly
from agent_executor.embedded.configuration import (
    agent_fields,
    api_key_of,
    enabled_tools,
    model_of,
    tool_registry,
)
from agent_executor.embedded.event_loop import Steps, awaited, loop_runs
from agent_executor.embedded.peers import with_permissions
from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.journal.journal import RunFilter
from agent_executor.executor.models.catalog import LLMModel
from agent_executor.executor.money import nano_usd_of
from agent_executor.executor.runs.result import result_mapping
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.streams.update_mapping import update_mapping
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

_UNFINISHED: Final = ("pending", "running", "waiting", "paused")
_RUNS_MAX: Final = 1_000


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
            (default 0: all or nothing); ``provider``, ``"mock"``, ``"anthropic"`` or ``"openai"``
            (default: ``EXECUTOR_MODEL_PROVIDER``, or the mock), with ``api_key`` and ``base_url`` if
            they are not those of the provider's own environment variables;
            ``thinking_budget_tokens`` (default 0: the model does not think) and
            ``response_cache_ttl_seconds`` (default 0: no answer is used again).
        model: The model to run on: an ``LLMModel``, any id that has a price, or ``"auto"``.
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
        self._api_key = SecretStr(api_key_of(agent_config))
        folder = None if data_dir is None else Path(data_dir)
        loop_runs(self._assemble(registry, http_request, sandbox, rate_limits, folder))

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
        return await awaited(running)

    async def stream(
        self,
        input: str,  # noqa: A002 -- the word of the public API
        *,
        parent_run_id: str = "",
        max_cost_usd: float = 0.0,
        on_disconnect: str = "continue",
        conversation_id: str = "",
    ) -> AsyncGenerator[dict[str, Any]]:
        """Runs the agent and yields what happens, as it happens; see ``executor.update_mapping``.

        Each update has a ``type``: ``run_started``, ``text_delta`` (``text`` that the model has just
        written, ``is_thinking``), ``tool_call_started``, ``tool_call_completed``, ``usage``,
        ``model_call_failed`` (what was told of its text is void), ``run_paused``, ``run_continued``,
        and last ``done``, which holds what ``execute`` returns, or ``error``.

        Args:
            input: What is asked of the agent.
            parent_run_id: As in ``execute``.
            max_cost_usd: As in ``execute``.
            on_disconnect: What becomes of the run if the iteration is ended early: ``"continue"``
                (default) or ``"cancel"``. Close the generator for that (``contextlib.aclosing``).
            conversation_id: As in ``execute``.

        Raises:
            AgentExecutorError: As ``execute``, before the first update.
        """
        updates = Steps(
            self._stream(input, parent_run_id, max_cost_usd, on_disconnect, conversation_id)
        )
        try:
            while True:
                update = await awaited(updates.next())
                if update is None:
                    return
                yield update
        finally:
            await awaited(updates.close())

    async def list_approvals(self, run_id: str = "") -> list[dict[str, Any]]:
        """Returns the tool calls that wait for a decision, oldest first.

        While one waits, the ``execute`` that it belongs to waits too.

        Args:
            run_id: Only this run's. Default: all of the executor's organization.
        """
        return await awaited(self._approvals.list_pending(run_id))

    async def resolve_approval(
        self,
        approval: Mapping[str, Any],
        decision: str,
        *,
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Decides about a tool call, once; the same decision again gets the same answer.

        Args:
            approval: One of ``list_approvals``, or a mapping with its ``run_id`` and ``tool_call_id``.
            decision: ``approve`` or ``deny``.
            reason: Why; the model is told the reason of a denial.
            arguments: With ``approve``: what to use in place of the model's. Default: the model's.

        Raises:
            InvalidArgumentError: The decision is none, or the tool does not take the arguments.
            RunNotFoundError: There is no such run.
            ApprovalNotFoundError: There is no such call, or it needs no decision.
            FailedPreconditionError: It was decided otherwise, has expired, or the run has ended.
        """
        return await awaited(self._approvals.resolve(approval, decision, reason, arguments))

    async def run_ids(self) -> list[str]:
        """Returns its runs that have not ended, by id, newest first and 1,000 at most."""
        return await awaited(self._run_ids())

    async def cancel(self, run_id: str, reason: str = "") -> dict[str, Any]:
        """Ends a run with those that it has started, and says what that did.

        Whoever waits for the run is answered with the ``state`` ``cancelled``. To cancel the task that
        awaits ``execute`` does not end the run.

        Args:
            run_id: The run. One that has ended is left as it is.
            reason: Why; kept in the run's log.

        Returns:
            ``run_id``, ``state``, ``was_stopped``, ``stopped_call_ids`` and, of these,
            ``unknown_call_ids`` (nobody knows whether they took effect), ``finished_call_ids``,
            ``never_begun_call_ids``, ``stopped_run_ids``, ``cost_nano_usd`` and
            ``released_nano_usd``.

        Raises:
            RunNotFoundError: There is no such run.
            UnavailableError: It has not ended in 30 seconds; it will.
        """
        return await awaited(self._cancel(run_id, reason))

    async def close(self) -> None:
        """Waits for nothing and releases what the executor holds open."""
        await awaited(self._assembly.close())

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
        _require_text(text)
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

    async def _stream(
        self,
        text: str,
        parent_run_id: str,
        max_cost_usd: float,
        on_disconnect: str,
        conversation_id: str,
    ) -> AsyncGenerator[dict[str, Any]]:
        _require_text(text)
        if on_disconnect not in ("continue", "cancel"):
            raise InvalidArgumentError('on_disconnect must be "continue" or "cancel".')
        updates = self._assembly.runs.stream(
            self._agent.agent_id,
            text,
            with_permissions(self._security, frozenset({"run:execute"})),
            RunOptions(
                parent_run_id=parent_run_id,
                max_cost_nano_usd=nano_usd_of(max_cost_usd, "max_cost_usd"),
                on_disconnect=on_disconnect,
                conversation_id=conversation_id,
            ),
        )
        async with aclosing(updates):
            async for update in updates:
                yield update_mapping(update)

    async def _run_ids(self) -> list[str]:
        reader = with_permissions(self._security, frozenset({"run:read"}))
        found: list[str] = []
        for state in _UNFINISHED:
            run_filter = RunFilter(agent_id=self._agent.agent_id, state=state)
            runs = await self._assembly.runs.list_runs(reader, _RUNS_MAX, run_filter=run_filter)
            found += [run.run_id for run in runs]
        return sorted(found, reverse=True)[:_RUNS_MAX]

    async def _cancel(self, run_id: str, reason: str) -> dict[str, Any]:
        security = with_permissions(self._security, frozenset({"run:execute"}))
        receipt = await self._assembly.runs.cancel(run_id, reason, security)
        answer: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(receipt))
        return answer

    async def _assemble(
        self,
        registry: ToolRegistry,
        http_request: HTTPRequestTool,
        sandbox: ToolSandbox,
        rate_limits: Mapping[str, int],
        data_dir: Path | None,
    ) -> None:
        self._assembly = Assembly(registry, http_request, sandbox, rate_limits, data_dir)
        self._approvals = ProgramApprovals(self._assembly.approvals, self._security)
        creator = with_permissions(self._security, frozenset({"agent:write"}))
        self._agent = await self._assembly.agents.create(
            self._fields, self._api_key.get_secret_value(), creator
        )


def _require_text(text: str) -> None:
    if not isinstance(text, str) or not text:  # type: ignore[redundant-expr]  # callers need not be type-checked
        raise InvalidArgumentError("The input must be a text that is not empty.")
    if not _is_unicode(text):
        raise InvalidArgumentError("The input holds half of a surrogate pair, which is no text.")


def _is_unicode(text: str) -> bool:
    """Tells whether a text can be written down; one of lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
