"""The base class of every tool, built-in or written by a user.

It imports the standard library and the platform's errors only: a sandbox loads it for each tool.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

from agent_executor.errors import AgentExecutorError, InvalidArgumentError, ToolExecutionError
from agent_executor.tool_runner.arguments import check_arguments
from agent_executor.tool_runner.tool_http import ToolHttp, current_tool_http

Effect: TypeAlias = Literal["read_only", "idempotent", "unsafe"]

TOOL_NAME_LENGTH_MAX: Final = 64
CACHE_TTL_SECONDS_MAX: Final = 86_400
ERROR_CHARACTERS_MAX: Final = 2_000
# What every model provider accepts as the name of a tool.
_TOOL_NAME: Final = re.compile(rf"[a-zA-Z0-9_-]{{1,{TOOL_NAME_LENGTH_MAX}}}", re.ASCII)


class ToolBase(ABC):
    """A tool: subclass it, name it and override ``_execute_impl``.

    ``_execute_impl`` may be a coroutine function. One that is not runs in a thread of its own
    when the platform calls it, so that it may block, unless the class sets ``runs_inline``.

    Attributes:
        name: Unique among the tools of an agent: 1 to 64 letters, digits, ``_`` or ``-``.
        description: What it does, in a sentence for the model.
        input_schema: JSON Schema (draft 2020-12) of the arguments, which are an object. The
            platform checks arguments against it before it calls the tool; ``execute`` does not.
        effect: What running it again can do: ``read_only`` nothing, ``idempotent`` nothing more
            than once, ``unsafe`` a second effect. A call of an unsafe tool whose outcome is not
            known is never repeated.
        cache_ttl_seconds: How long a result of a ``read_only`` tool may be given again to an
            equal call of the same organization, up to a day; 0 for never.
        requires_approval: Each call of it by an agent waits for a person's decision.
        runs_inline: It is not a coroutine function and always ends within a few milliseconds, so
            it needs no thread.
        decimal_numbers: Numbers with a fraction or an exponent in a call's JSON arguments reach
            the tool as ``Decimal``, exactly as they were written, and not as ``float``.
    """

    runs_inline: ClassVar[bool] = False
    decimal_numbers: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        description: str,
        *,
        input_schema: Mapping[str, Any] | None = None,
        effect: Effect = "unsafe",
        cache_ttl_seconds: int = 0,
        requires_approval: bool = False,
    ) -> None:
        """See the class; without a schema any object is accepted.

        Raises:
            InvalidArgumentError: The name, the description or the effect is none, the time to
                live is out of range, or the demand is neither True nor False.
        """
        if not is_tool_name(name):
            raise InvalidArgumentError(
                f"A tool's name is 1 to {TOOL_NAME_LENGTH_MAX} letters, digits, _ or -."
            )
        if not _is_text(description):
            raise InvalidArgumentError("A tool needs a description.", tool_name=name)
        if effect not in get_args(Effect):
            raise InvalidArgumentError(
                f"A tool's effect is one of {', '.join(get_args(Effect))}.", tool_name=name
            )
        if not 0 <= cache_ttl_seconds <= CACHE_TTL_SECONDS_MAX:
            raise InvalidArgumentError(
                f"A tool's cache_ttl_seconds is from 0 to {CACHE_TTL_SECONDS_MAX}.", tool_name=name
            )
        if not isinstance(requires_approval, bool):
            raise InvalidArgumentError(
                "A tool's requires_approval is True or False.", tool_name=name
            )
        self.name = name
        self.description = description
        self.input_schema: Mapping[str, Any] = (
            {"type": "object"} if input_schema is None else input_schema
        )
        self.effect: Effect = effect
        self.cache_ttl_seconds = cache_ttl_seconds
        self.requires_approval = requires_approval

    def effect_of(self, arguments: Mapping[str, Any]) -> Effect:
        """Returns the effect of one call; a tool whose effect follows its arguments overrides it.

        Args:
            arguments: As ``_execute_impl`` would get them.
        """
        del arguments
        return self.effect

    @property
    def http(self) -> ToolHttp:
        """The network: the host makes the request, under its policy and the tool's own origins.

        Raises:
            ToolExecutionError: The tool is not run by a platform that has a network for it.
        """
        http = current_tool_http.get()
        if http is None:
            raise ToolExecutionError("This tool has no network here.", tool_name=self.name)
        return http

    @abstractmethod
    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        """Does the tool's work and returns its result, a JSON value.

        Args:
            arguments: What the model gave, within the platform's caps on size and depth.

        Raises:
            AgentExecutorError: It failed; message and reason are shown to the caller.
            Exception: It failed; the caller sees a fixed sentence, and the log has the rest.
        """

    def execute(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the tool here and now, and never raises for bad arguments or a tool that fails.

        It is the tool alone: permissions, rate limits and the audit log are the platform's. It
        waits for a coroutine function too, also where an event loop is running, which it blocks.

        Returns:
            ``{"success": True, "tool_name", "result", "timestamp"}``, or ``{"success": False,
            "error", "tool_name", "code", "timestamp"}`` with a name of ``ErrorReason`` as code.
            The timestamp is UTC, as in ``2026-02-23T10:00:00Z``.
        """
        try:
            result = self._execute_impl(check_arguments(arguments))
            if isinstance(result, Coroutine):
                result = _run_to_end(result)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a tool raises is its result
            failure = as_tool_failure(error, self.name)
            return {
                "success": False,
                "error": failure.message,
                "tool_name": self.name,
                "code": failure.reason,
                "timestamp": _timestamp(),
            }
        return {
            "success": True,
            "tool_name": self.name,
            "result": result,
            "timestamp": _timestamp(),
        }


def as_tool_failure(error: BaseException, tool_name: str) -> AgentExecutorError:
    """Returns what may be shown of an error that a tool raised; logs one that nobody foresaw."""
    if isinstance(error, AgentExecutorError):
        # Whatever a tool puts there travels, so it has to be text, and not without end.
        text = str(error.message)[:ERROR_CHARACTERS_MAX]
        error.message = text.encode(errors="replace").decode()
        return error
    import logging

    logging.getLogger(__name__).error("The tool %s failed.", tool_name, exc_info=error)
    return ToolExecutionError("The tool failed.", tool_name=tool_name)


def is_tool_name(value: object) -> bool:
    """Tells whether a tool can have this name."""
    return isinstance(value, str) and _TOOL_NAME.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _run_to_end(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    # This thread's loop stands still until we return, so the coroutine gets one of its own.
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
