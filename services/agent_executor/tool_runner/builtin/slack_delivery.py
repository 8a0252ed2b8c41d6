"""Posts one message with Slack's SDK, over a connection that goes to the configured host only."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import socket
import ssl
import threading
import time
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import Request

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from agent_executor.errors import (
    AgentExecutorError,
    OutcomeUnknownError,
    RateLimitExceededError,
    ToolExecutionError,
)
from agent_executor.tool_runner.builtin.slack_workspace import SlackWorkspace
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.own_thread import run_in_own_thread

RESPONSE_BYTES_MAX: Final = 1_048_576

_TOOL_NAME: Final = "slack"
_TOO_MANY_REQUESTS: Final = 429
_OK: Final = 200
_SERVER_ERRORS: Final = range(500, 600)
# Slack says of these that what was asked for may have been done.
_UNCERTAIN_CODES: Final = frozenset({"fatal_error", "internal_error", "request_timeout"})
_CODE_CHARACTERS_MAX: Final = 64
_CHUNK_BYTES: Final = 65_536
# The SDK logs the text of messages; whoever runs this has the audit log.
_SILENT: Final = logging.Logger("slack", logging.CRITICAL + 1)  # noqa: LOG001 -- nobody else can raise its level


class SlackDelivery:
    """One request to Slack's API, in a thread of its own, which ends when nobody waits for it.

    Args:
        workspace: Where it goes.
        token: Sent in the header ``Authorization`` of that request.
    """

    def __init__(self, workspace: SlackWorkspace, token: Secret) -> None:
        self._timeout_seconds = workspace.timeout_seconds
        self._connection = _Connection(workspace)
        self._client = _DirectClient(workspace, token, self._connection)

    async def post(self, message: dict[str, Any]) -> dict[str, Any]:
        """Posts a message and returns Slack's answer; a caller that is cancelled cuts it off.

        Raises:
            RateLimitExceededError: Slack takes no more at present.
            ToolExecutionError: Slack refused, or was not reached in time; nothing was posted.
            OutcomeUnknownError: The connection was lost, or time was up, after the request was
                on its way and before the answer was there, or Slack itself does not know.
        """
        timeout = asyncio.timeout(self._timeout_seconds)
        try:
            async with timeout:
                return await run_in_own_thread(lambda: self._post(message), name=_TOOL_NAME)
        except SlackApiError as error:
            raise _refusal(error.response) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._failure(error, is_late=timeout.expired()) from None
        finally:
            self._connection.cut()

    def _post(self, message: dict[str, Any]) -> dict[str, Any]:
        response = self._client.chat_postMessage(**message)
        return {"channel": response.get("channel"), "ts": response.get("ts")}

    def _failure(self, error: Exception, *, is_late: bool) -> ToolExecutionError:
        if is_late:
            reason = f"Slack did not answer within {self._timeout_seconds:g} s."
        elif isinstance(error, ssl.SSLCertVerificationError):
            reason = "Slack's certificate is not trusted."
        else:
            reason = "The connection to Slack failed."
        if self._connection.is_request_sent:
            return _unknown(reason)
        return ToolExecutionError(f"{reason} Nothing was posted.", tool_name=_TOOL_NAME)


class _Connection:
    """A connection to one host, without proxies and redirects, that another thread can cut."""

    def __init__(self, workspace: SlackWorkspace) -> None:
        url = urlsplit(workspace.base_url)
        self._deadline = time.monotonic() + workspace.timeout_seconds
        self._connection = (
            http.client.HTTPSConnection(url.hostname or "", url.port, context=_tls_context())
            if url.scheme == "https"
            else http.client.HTTPConnection(url.hostname or "", url.port)
        )
        # A connection that was lost is not made again behind our back.
        self._connection.auto_open = 0
        self._lock = threading.Lock()
        self._is_cut = False
        self.is_request_sent = False
        """Whether the host may have got the request."""

    def exchange(self, request: Request) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Sends a request and returns the status, the headers and the body of the response."""
        connection = self._connection
        connection.timeout = self._remaining_seconds()
        connection.connect()
        with self._lock:
            # Whoever cuts it looks at the flag afterwards, so what it says then has to hold.
            if self._is_cut:
                connection.close()
                raise ConnectionAbortedError
            self.is_request_sent = True
        self._set_timeout()
        connection.request("POST", request.selector, request.data, dict(request.header_items()))
        self._set_timeout()
        response = connection.getresponse()
        body = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > RESPONSE_BYTES_MAX:
                raise ValueError
            self._set_timeout()
        return response.status, response.headers, bytes(body)

    def cut(self) -> None:
        """Closes the connection, so that the thread that waits at it goes on and fails."""
        with self._lock:
            self._is_cut = True
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection from the thread that uses it."""
        self._connection.close()

    def _set_timeout(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._remaining_seconds())

    def _remaining_seconds(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining


class _DirectClient(WebClient):
    """Slack's client over our own connection.

    Its own way to send takes a proxy from the environment, follows redirects and shows them the
    token, reads answers of any size, and has no deadline for the whole.
    """

    def __init__(self, workspace: SlackWorkspace, token: Secret, connection: _Connection) -> None:
        super().__init__(
            token=token.reveal(),
            base_url=workspace.base_url,
            logger=_SILENT,
            retry_handlers=[],
        )
        self._connection = connection

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        del url
        try:
            status, headers, body = self._connection.exchange(req)
        finally:
            self._connection.close()
        _check_status(status, headers)
        text = body.decode("utf-8")
        if not isinstance(json.loads(text), dict):
            raise ValueError
        return {"status": status, "headers": headers, "body": text}


def _check_status(status: int, headers: http.client.HTTPMessage) -> None:
    if status == _TOO_MANY_REQUESTS:
        raise _rate_limited(headers.get("retry-after", ""))
    if status in _SERVER_ERRORS:
        raise _unknown(f"Slack failed with the HTTP status {status}.")
    if status != _OK:
        raise ToolExecutionError(
            f"Slack refuses the request with the HTTP status {status}. Nothing was posted.",
            metadata={"httpStatus": str(status)},
            tool_name=_TOOL_NAME,
        )


def _refusal(response: Any) -> AgentExecutorError:
    code = str(response.get("error"))[:_CODE_CHARACTERS_MAX]
    if not (code.isascii() and code.replace("_", "").isalnum()):
        code = "unknown_error"
    if code in {"ratelimited", "rate_limited"}:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return _rate_limited(headers.get("retry-after", ""))
    if code in _UNCERTAIN_CODES:
        return _unknown(f"Slack failed with {code}.")
    return ToolExecutionError(
        f"Slack refuses the message with {code}. Nothing was posted.",
        metadata={"slackError": code},
        tool_name=_TOOL_NAME,
    )


def _rate_limited(retry_after: str) -> RateLimitExceededError:
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
    advice = "" if seconds is None else f" Retry after {seconds:g} s."
    return RateLimitExceededError(
        f"Slack's rate limit is exceeded.{advice}",
        tool_name=_TOOL_NAME,
        retry_after_seconds=seconds,
    )


def _unknown(reason: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"{reason} Whether the message was posted is not known.", tool_name=_TOOL_NAME
    )


@cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()
