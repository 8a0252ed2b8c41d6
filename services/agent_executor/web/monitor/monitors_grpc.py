"""The monitors that are open: each a WebSocket, and a stream of the executor on its caller's behalf."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, TypeAlias

from starlette.websockets import WebSocket, WebSocketDisconnect

from agent_executor.api.executor.v1 import monitor_service_pb2
from agent_executor.errors import (
    AgentExecutorError,
    LimitExceededError,
    UnavailableError,
)
from agent_executor.web.deadlines import deadline
from agent_executor.web.error_convert import answer_to
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.monitor.activity_convert import ActivityTexts
from agent_executor.web.monitor.close_codes import (
    BUG,
    STOPPING,
    TOKEN_TOO_OLD,
    TOOK_A_MESSAGE,
    Close,
    close_for,
)
from agent_executor.web.monitor.query_convert import request_of
from agent_executor.web.monitor.watching_grpc import Watching
from agent_executor.web.runtime import WebRuntime

_RETRY_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0

_LOGGER = logging.getLogger(__name__)

Activities: TypeAlias = AsyncGenerator[monitor_service_pb2.Activity, None]


class Monitors:
    """Serves monitors. What is wrong with one before it begins is an HTTP answer, later a code.

    Args:
        runtime: What it is built on.
        texts: Makes the messages.
    """

    def __init__(self, runtime: WebRuntime, texts: ActivityTexts) -> None:
        self._runtime = runtime
        self._texts = texts
        self._open = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serves one to its end."""
        if self._open >= self._runtime.settings.max_monitors:
            error = LimitExceededError(
                "Too many monitors are open.", retry_after_seconds=_RETRY_SECONDS
            )
            await socket.send_denial_response(answer_to(error))
            return
        self._open += 1
        try:
            await self._serve(socket)
        finally:
            self._open -= 1

    async def _serve(self, socket: WebSocket) -> None:
        try:
            request = request_of(socket.query_params.multi_items())
            executor = Executor.of(self._runtime, socket.headers)
            watching = Watching(executor, request)
            async with aclosing(watching.activities()) as activities:
                first = await self._first(activities, executor.request_timeout_seconds)
                await socket.accept()
                close = await self._told(
                    socket, self._messages(first, activities, request), watching
                )
        except AgentExecutorError as error:
            await socket.send_denial_response(answer_to(error))
            return
        if close is not None:
            # A caller that takes nothing would never have it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await socket.close(*close)

    async def _first(
        self, activities: Activities, timeout_seconds: float
    ) -> monitor_service_pb2.Activity:
        """Returns the first activity, which says that the caller may watch.

        Raises:
            AgentExecutorError: It may not, or the executor cannot be reached.
        """
        try:
            async with deadline(timeout_seconds, self._runtime.stopping):
                return await anext(activities)
        except (TimeoutError, StopAsyncIteration):
            raise UnavailableError(
                "The executor has not answered.", retry_after_seconds=_RETRY_SECONDS
            ) from None

    async def _messages(
        self,
        first: monitor_service_pb2.Activity,
        activities: Activities,
        request: monitor_service_pb2.StreamActivityRequest,
    ) -> AsyncGenerator[str, None]:
        """Yields the messages of a WebSocket."""
        without_content = request.without_content
        yield self._texts.text_of(first, without_content=without_content)
        async for activity in activities:
            yield self._texts.text_of(activity, without_content=without_content)

    async def _told(
        self, socket: WebSocket, messages: AsyncGenerator[str, None], watching: Watching
    ) -> Close | None:
        """Tells a caller until something ends it, and returns how; None if the caller went away."""
        telling = asyncio.create_task(_tell(socket, messages, watching))
        hearing = asyncio.create_task(_hear(socket))
        stopping = asyncio.create_task(self._runtime.stopping.wait())
        tasks: list[asyncio.Task[Any]] = [telling, hearing, stopping]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                return hearing.result()
            return telling.result() if telling.done() else STOPPING
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(
    socket: WebSocket, messages: AsyncGenerator[str, None], watching: Watching
) -> Close | None:
    """Sends messages, each once the caller has taken enough of those before it."""
    try:
        async with aclosing(messages):
            async for message in messages:
                await socket.send_text(message)
    except WebSocketDisconnect:
        return None
    except AgentExecutorError as error:
        return TOKEN_TOO_OLD if watching.is_too_old(error) else close_for(error)
    except Exception:  # whatever it was, the caller is told that it is over, and not what it was
        _LOGGER.exception("A monitor broke.")
    return BUG


async def _hear(socket: WebSocket) -> Close | None:
    """Waits until the caller goes away, or says something, which it has no reason to."""
    message = await socket.receive()
    return None if message["type"] == "websocket.disconnect" else TOOK_A_MESSAGE
