"""The library: the platform's own engine, tools and prices in one process, with nothing started.

This is the only module that wires the three services together. What it adds to them is the
adapters by which the executor calls the other two directly.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry

from agent_executor.errors import (
    InvalidArgumentError,
    ReservationNotFoundError,
    ToolNotFoundError,
)
from agent_executor.executor.agent import AgentVersion, CustomTool
from agent_executor.executor.agent_store import AgentStore
from agent_executor.executor.agent_store_memory import MemoryAgentStore
from agent_executor.executor.agent_store_sqlite import SqliteAgentStore
from agent_executor.executor.agents import Agents
from agent_executor.executor.encryption import KEY_BYTES, Encryption
from agent_executor.executor.engine import Engine
from agent_executor.executor.journal import Journal
from agent_executor.executor.journal_memory import MemoryJournal
from agent_executor.executor.journal_sqlite import SqliteJournal
from agent_executor.executor.ledger import Hold, Settlement
from agent_executor.executor.model_turn import ModelTurn
from agent_executor.executor.models.catalog import LLMModel
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.executor.result import result_mapping
from agent_executor.executor.run_telemetry import RunTelemetry
from agent_executor.executor.runs import Runs
from agent_executor.executor.schema import MIGRATIONS as EXECUTOR_MIGRATIONS
from agent_executor.executor.tools import ToolOutcome, ToolRequest
from agent_executor.ledger.budget import Refusal
from agent_executor.ledger.rate_cards import RateCards
from agent_executor.ledger.reservations import Reservations, ReserveRequest, SettleRequest
from agent_executor.ledger.store import LedgerStore
from agent_executor.ledger.store_memory import MemoryLedgerStore
from agent_executor.ledger.store_sqlite import MIGRATIONS_FOLDER as LEDGER_MIGRATIONS
from agent_executor.ledger.store_sqlite import SqliteLedgerStore
from agent_executor.ledger.token_usage import TokenUsage
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.telemetry import context_from_traceparent
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.builtin import built_in_tools
from agent_executor.tool_runner.call_record import CallRecords
from agent_executor.tool_runner.call_store_memory import MemoryCallStore
from agent_executor.tool_runner.call_store_sqlite import SqliteCallStore
from agent_executor.tool_runner.call_telemetry import CallTelemetry
from agent_executor.tool_runner.calls import ToolCalls
from agent_executor.tool_runner.catalog import ToolCatalog
from agent_executor.tool_runner.dispatch import Dispatcher
from agent_executor.tool_runner.policy import CallPolicy
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.sandbox import ToolSandbox
from agent_executor.tool_runner.schema import MIGRATIONS as TOOL_MIGRATIONS
from agent_executor.tool_runner.security_mapping import parse_security_context
from agent_executor.tool_runner.tool_base import ToolBase
from agent_executor.tool_runner.tool_call import ToolCall, unix_ms_of

T = TypeVar("T")

DEFAULT_ORGANIZATION: Final = "default"
DEFAULT_USER: Final = "local"
EVERYTHING: Final = frozenset({"*"})
# What the executor itself needs, beside what the caller may do; services get it by their grants.
_READ_TOOLS: Final = frozenset({"tool:read"})
_WRITE_LEDGER: Final = frozenset({"ledger:write"})
_CONFIG_KEYS: Final = frozenset(
    {
        "name",
        "description",
        "agent_type",
        "role",
        "instructions",
        "tools",
        "custom_tools",
        "max_model_turns",
        "max_output_tokens",
    }
)
# Stands for what the platform gives an agent, while a configuration is checked.
_NO_AGENT: Final[dict[str, Any]] = {
    "agent_id": "",
    "organization_id": "",
    "version": 1,
    "created_at_ms": 0,
    "updated_at_ms": 0,
}


class InProcessToolRunner:
    """The executor's ``ToolRunner`` by direct calls."""

    def __init__(
        self, calls: ToolCalls, catalog: ToolCatalog, rate_limits: Mapping[str, int]
    ) -> None:
        self._calls = calls
        self._catalog = catalog
        self._rate_limits = rate_limits

    async def describe(
        self, tool_names: Sequence[str], security: SecurityContext
    ) -> tuple[ToolSpecification, ...]:
        """See ``ToolRunner``."""
        return tuple(
            ToolSpecification(
                tool.name, tool.description, msgspec.json.decode(tool.input_schema_json)
            )
            for tool in self._catalog.describe_tools(tool_names, _with(security, _READ_TOOLS))
            if tool.enabled
        )

    async def execute(
        self,
        request: ToolRequest,
        security: SecurityContext,
        *,
        timeout_seconds: float,
        traceparent: str = "",
    ) -> ToolOutcome:
        """See ``ToolRunner``."""
        call = ToolCall(
            tool_call_id=request.tool_call_id,
            tool_name=request.tool_name,
            arguments_json=request.arguments_json,
            run_id=request.run_id,
            agent_id=request.agent_id,
            rate_limits=self._rate_limits,
            timeout_seconds=timeout_seconds,
            is_test=request.is_test,
        )
        result = await self._calls.execute(
            call, security, parent=context_from_traceparent(traceparent)
        )
        return ToolOutcome(
            success=result.success,
            result_json=result.result_json,
            error=result.error,
            code=result.code,
            timestamp_ms=unix_ms_of(result.timestamp),
        )


class InProcessLedger:
    """The executor's ``Ledger`` by direct calls."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations

    async def reserve(self, hold: Hold, security: SecurityContext) -> None:
        """See ``Ledger``."""
        answer = await self._reservations.reserve(
            ReserveRequest(
                reservation_id=hold.model_call_id,
                agent_id=hold.agent_id,
                run_id=hold.run_id,
                model=hold.model,
                max_input_tokens=hold.max_input_tokens,
                max_output_tokens=hold.max_output_tokens,
            ),
            _with(security, _WRITE_LEDGER),
        )
        if isinstance(answer, Refusal):
            raise answer.to_error(_now_ms())

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        entry = await self._reservations.settle(
            SettleRequest(
                entry_id=settlement.model_call_id,
                reservation_id=settlement.model_call_id,
                agent_id=settlement.agent_id,
                run_id=settlement.run_id,
                model=settlement.model,
                usage=TokenUsage(**msgspec.structs.asdict(settlement.usage)),
                estimated=settlement.estimated,
                is_test=settlement.is_test,
            ),
            _with(security, _WRITE_LEDGER),
        )
        return entry.cost_nano_usd

    async def void(self, model_call_id: str, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._reservations.void(model_call_id, _with(security, _WRITE_LEDGER))

    async def is_reserved(self, model_call_id: str, security: SecurityContext) -> bool:
        """See ``Ledger``."""
        try:
            await self._reservations.get(model_call_id, _with(security, _WRITE_LEDGER))
        except ReservationNotFoundError:
            return False
        return True


class _Stores:
    """Where everything is kept: in memory, or in the folder that is given."""

    def __init__(self, data_dir: Path | None, resources: AsyncExitStack) -> None:
        if data_dir is None:
            self.journal: Journal = MemoryJournal()
            self.agents: AgentStore = MemoryAgentStore()
            self.calls: CallRecords = MemoryCallStore()
            self.ledger: LedgerStore = MemoryLedgerStore()
            self.encryption = Encryption(bytes(KEY_BYTES))
            return
        executor = _database(data_dir / "executor" / "journal.sqlite3", EXECUTOR_MIGRATIONS)
        tools = _database(data_dir / "tool_runner" / "tool_runner.sqlite3", TOOL_MIGRATIONS)
        ledger = _database(data_dir / "ledger" / "ledger.sqlite3", LEDGER_MIGRATIONS)
        for database in (executor, tools, ledger):
            resources.push_async_callback(database.close)
        self.journal = SqliteJournal(executor)
        self.agents = SqliteAgentStore(executor)
        self.calls = SqliteCallStore(tools)
        self.ledger = SqliteLedgerStore(ledger)
        self.encryption = Encryption.from_file(data_dir / "executor" / "encryption.key")


class AsyncAgentExecutor:
    """One agent, run in this process. Its calls may overlap; await them from any event loop.

    Args:
        agent_config: ``name`` (required); ``role``, ``instructions``, ``description``;
            ``tools``, tool name to whether it is enabled; ``custom_tools``, tool name to
            ``{"class": ..., "enabled": ...}``, where the class is a subclass of ``ToolBase`` of
            this program or its name; ``max_model_turns``, ``max_output_tokens``.
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
        self.model = _model_of(model)
        self._fields = _agent_fields(agent_config)
        self._resources = AsyncExitStack()
        self._security = SecurityContext(DEFAULT_ORGANIZATION, DEFAULT_USER, EVERYTHING)
        rate_limits: Mapping[str, int] = {}
        if security_context is not None:
            self._security, rate_limits = parse_security_context(security_context)
        registry = _registry(agent_config)
        self.tools = _enabled_tools(self._fields, registry)
        _loop_runs(self._build(registry, sandbox or ToolSandbox(), rate_limits, data_dir))

    async def execute(self, input: str) -> dict[str, Any]:  # noqa: A002 -- the word of the public API
        """Runs the agent and returns what came of it; see ``executor.result.result_mapping``.

        A run that fails is answered too, with its ``state``, ``error`` and ``code``.

        Raises:
            InvalidArgumentError: The input is no text, or empty.
            LimitExceededError: Too many runs are under way.
        """
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._execute(input), _event_loop())
        )

    async def close(self) -> None:
        """Waits for nothing and releases what the executor holds open."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._close(), _event_loop()))

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

    async def _execute(self, text: str) -> dict[str, Any]:
        if not isinstance(text, str) or not text:  # type: ignore[redundant-expr]  # as above
            raise InvalidArgumentError("The input must be a text that is not empty.")
        security = _with(self._security, frozenset({"run:execute"}))
        return result_mapping(await self._runs.execute(self._agent.agent_id, text, security))

    async def _close(self) -> None:
        await self._runs.drain(0.0)
        await self._calls.close()
        await self._resources.aclose()

    async def _build(
        self,
        registry: ToolRegistry,
        sandbox: ToolSandbox,
        rate_limits: Mapping[str, int],
        data_dir: Path | str | None,
    ) -> None:
        """Wires the three services; runs on the loop that all runs use."""
        stores = _Stores(Path(data_dir) if data_dir is not None else None, self._resources)
        metrics = Metrics(CollectorRegistry())
        self._calls = ToolCalls(
            policy=CallPolicy(registry, sandbox),
            records=stores.calls,
            dispatcher=Dispatcher(),
            telemetry=CallTelemetry(registry),
        )
        tools = InProcessToolRunner(self._calls, ToolCatalog(registry), rate_limits)
        ledger = InProcessLedger(
            Reservations(stores.ledger, RateCards(stores.ledger), time.time, metrics)
        )
        telemetry = RunTelemetry(NoOpTracer(), metrics)
        agents = Agents(stores.agents, stores.encryption, _now_ms)
        self._runs = Runs(
            journal=stores.journal,
            agents=agents,
            tools=tools,
            engine=Engine(
                model_turn=ModelTurn(
                    providers={"mock": MockClaude()},
                    provider_name="mock",
                    tools=tools,
                    ledger=ledger,
                    telemetry=telemetry,
                ),
                tools=tools,
                ledger=ledger,
                telemetry=telemetry,
                now_ms=_now_ms,
            ),
            owner=f"library/{uuid.uuid4()}",
            now_ms=_now_ms,
        )
        fields = {**self._fields, "model": str(self.model)}
        creator = _with(self._security, frozenset({"agent:write"}))
        self._agent: AgentVersion = await agents.create(fields, "", creator)


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

    def execute(self, input: str) -> dict[str, Any]:  # noqa: A002 -- the word of the public API
        """Runs the agent and returns what came of it; see ``AsyncAgentExecutor.execute``."""
        return _loop_runs(self._executor._execute(input))  # noqa: SLF001 -- its own other half

    def close(self) -> None:
        """Releases what the executor holds open."""
        _loop_runs(self._executor._close())  # noqa: SLF001 -- its own other half

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


@functools.cache
def _event_loop() -> asyncio.AbstractEventLoop:
    """Returns the loop on which all runs of this process are driven, in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agent-executor", daemon=True).start()
    return loop


def _loop_runs(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on that loop and waits for it; interrupted, it cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _event_loop())
    try:
        return future.result()
    finally:
        future.cancel()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _with(security: SecurityContext, permissions: frozenset[str]) -> SecurityContext:
    return SecurityContext(
        security.organization_id, security.user_id, security.permissions | permissions
    )


def _database(path: Path, migrations: Path) -> SqliteDatabase:
    upgrade(path, migrations)
    return SqliteDatabase(path)


def _model_of(model: LLMModel | str) -> LLMModel | str:
    if not isinstance(model, str) or not model:  # type: ignore[redundant-expr]  # callers need not be type-checked
        raise InvalidArgumentError("The model must be an LLMModel or a model's id.")
    try:
        return LLMModel(model)
    except ValueError:
        return model


def _agent_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of ``AgentVersion`` that the configuration sets.

    Raises:
        InvalidArgumentError: A key is unknown or missing, or a value is not of its type.
    """
    if not isinstance(config, Mapping):
        raise InvalidArgumentError("agent_config must be a mapping.")
    unknown = sorted(str(key) for key in config if key not in _CONFIG_KEYS)
    if unknown:
        keys = ", ".join(sorted(_CONFIG_KEYS))
        raise InvalidArgumentError(f'agent_config has no key "{unknown[0]}"; it has {keys}.')
    try:
        custom = {
            name: CustomTool(
                class_name=getattr(use["class"], "__name__", use["class"]),
                enabled=use.get("enabled", True),
            )
            for name, use in config.get("custom_tools", {}).items()
        }
        fields = {**config, "custom_tools": msgspec.to_builtins(custom)}
        agent = msgspec.convert({**_NO_AGENT, **fields}, AgentVersion)
    except (AttributeError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise InvalidArgumentError(f"agent_config is not valid: {error}.") from error
    return {name: getattr(agent, name) for name in fields}


def _registry(config: Mapping[str, Any]) -> ToolRegistry:
    """Returns the built-in tools and the program's own that the configuration names.

    Raises:
        ToolNotFoundError: There is no subclass of ``ToolBase`` of the name.
        InvalidArgumentError: The tool cannot be made, or calls itself otherwise.
    """
    registry = ToolRegistry(built_in_tools())
    for name, use in config.get("custom_tools", {}).items():
        tool_class = _tool_class(name, use["class"])
        make_tool: Callable[[], ToolBase] = tool_class
        try:
            tool = make_tool()
        except Exception as error:  # the program's own code; it is told what that raised
            message = f"The tool {name!r} cannot be made: {tool_class.__name__}(): {error}"
            raise InvalidArgumentError(message, tool_name=name) from error
        registry.register(tool)
        if tool.name != name:
            message = f"The tool {name!r} calls itself {tool.name!r}; the names must be the same."
            raise InvalidArgumentError(message, tool_name=name)
    return registry


def _tool_class(name: str, wanted: type[ToolBase] | str) -> type[ToolBase]:
    """Returns the class, or the subclass of ``ToolBase`` of the name that was defined last."""
    if isinstance(wanted, type):
        if not issubclass(wanted, ToolBase):
            raise InvalidArgumentError(f"{wanted.__name__} is no subclass of ToolBase.")
        return wanted
    found = None
    waiting = list(ToolBase.__subclasses__())
    while waiting:
        candidate = waiting.pop(0)
        waiting.extend(candidate.__subclasses__())
        if candidate.__name__ == wanted:
            found = candidate
    if found is None:
        raise ToolNotFoundError(
            f"The tool {name!r} names the class {wanted!r}, but no such subclass of ToolBase is "
            "defined; import the module that defines it.",
            tool_name=name,
        )
    return found


def _enabled_tools(fields: Mapping[str, Any], registry: ToolRegistry) -> dict[str, ToolBase]:
    """Returns the tools that the agent may use, by name.

    Raises:
        ToolNotFoundError: A tool is enabled that there is not.
    """
    agent = AgentVersion(**_NO_AGENT | dict(fields))
    tools: dict[str, ToolBase] = {}
    for name in agent.enabled_tools():
        registered = registry.find(name)
        if registered is None:
            known = ", ".join(tool.name for tool in registry.list())
            raise ToolNotFoundError(
                f"There is no tool named {name!r}; there are {known}.", tool_name=name
            )
        tools[name] = registered.tool
    return tools
