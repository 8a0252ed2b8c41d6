"""What is told of a conversation with an MCP server that failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import httpx2
from mcp import MCPError
from mcp.types import CONNECTION_CLOSED, PARSE_ERROR

from agent_executor.errors import (
    AgentExecutorError,
    OutcomeUnknownError,
    ToolExecutionError,
)
from agent_executor.tool_runner.credentials.scrubbing import scrub
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.mcp.transport import ConversationTransport

WORDS_CHARACTERS_MAX: Final = 500

_NOT_UNDERSTOOD: Final = "The MCP server's answer is none that the protocol allows."
_UNAUTHORIZED: Final = frozenset({401, 403})
_REDIRECT: Final = 300
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
# How the SDK says that no answer came, or none that can be read. Servers use its codes as well, so
# it is known by its words; a server that borrows those only makes its outcome unknown.
_NO_ANSWER: Final = frozenset({CONNECTION_CLOSED, PARSE_ERROR})
_WORDS_OF_THE_SDK: Final = ("Connection closed", "SSE stream ", "Failed to parse ")


def as_failure(
    error: BaseException,
    transport: ConversationTransport,
    secrets: Sequence[Secret],
    *,
    may_have_acted: bool,
) -> AgentExecutorError:
    """Returns the error of a conversation.

    Args:
        error: What ended it, perhaps a group.
        transport: Its transport, which knows more of what happened below the SDK.
        secrets: Are not in the error.
        may_have_acted: Whether a tool was called whose effect must not be had twice: without an
            answer its outcome is unknown.
    """
    cause = transport.failure or _first_of(error)
    if isinstance(cause, AgentExecutorError):
        return cause
    if isinstance(cause, httpx2.ConnectError):
        return ToolExecutionError(str(cause))
    refusal = _refusal_of(cause, transport.status_code, secrets)
    if refusal:
        return ToolExecutionError(refusal)
    message = str(cause) if isinstance(cause, httpx2.HTTPError) else _NOT_UNDERSTOOD
    if transport.status_code >= _SERVER_ERROR:
        message = f"The MCP server failed with HTTP {transport.status_code}."
    if may_have_acted:
        return OutcomeUnknownError(
            f"{message} Whether the tool took effect is not known, so it is not called again."
        )
    return ToolExecutionError(message)


def _refusal_of(cause: BaseException, status_code: int, secrets: Sequence[Secret]) -> str:
    """Returns what a server says that did not do what it was asked for; empty if it may have."""
    if status_code in _UNAUTHORIZED:
        return f"The MCP server does not accept the credential (HTTP {status_code})."
    if _REDIRECT <= status_code < _CLIENT_ERROR:
        return "The MCP server redirects elsewhere, which is not followed."
    if isinstance(cause, MCPError) and not _is_no_answer(cause):
        if status_code >= _SERVER_ERROR:
            return ""
        words = scrub(cause.message, secrets)[:WORDS_CHARACTERS_MAX]
        return f"The MCP server refuses: {words} ({cause.code})"
    if _CLIENT_ERROR <= status_code < _SERVER_ERROR:
        return f"The MCP server refuses with HTTP {status_code}."
    return ""


def _is_no_answer(error: MCPError) -> bool:
    return error.code in _NO_ANSWER and error.message.startswith(_WORDS_OF_THE_SDK)


def _first_of(error: BaseException) -> BaseException:
    return next(_leaves(error), error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
