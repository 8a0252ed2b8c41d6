"""The official SDK's way to the tasks: one handler for the requests of every agent."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final, NoReturn

from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.jsonrpc_models import InternalError as BrokenError
from a2a.server.jsonrpc_models import JSONRPCError
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import (
    A2AError,
    ExtendedAgentCardNotConfiguredError,
    InternalError,
    PushNotificationNotSupportedError,
)
from a2a.utils.task import validate_history_length
from starlette.requests import Request
from starlette.responses import JSONResponse

from agent_executor.errors import AgentExecutorError
from agent_executor.web.a2a.error_convert import error_to_a2a
from agent_executor.web.a2a.tasks_grpc import AgentTasks
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.runtime import WebRuntime

_AGENT_ID: Final = "agent_id"
_HEADERS: Final = "headers"
_BROKEN: Final = "Something broke inside the platform."

_LOGGER = logging.getLogger(__name__)


class AgentContexts(DefaultServerCallContextBuilder):
    """Tells the handler which agent a request is for."""

    def build(self, request: Request) -> ServerCallContext:
        """Returns the context of a request."""
        context = super().build(request)
        context.state[_AGENT_ID] = request.path_params[_AGENT_ID]
        return context


class AgentDispatcher(JsonRpcDispatcher):
    """Reads requests; what breaks inside, it does not show."""

    def _generate_error_response(
        self, request_id: str | int | None, error: Exception | JSONRPCError | A2AError
    ) -> JSONResponse:
        if not isinstance(error, A2AError | JSONRPCError) or isinstance(error, BrokenError):
            error = InternalError(_BROKEN)
        return super()._generate_error_response(request_id, error)


class RunHandler(RequestHandler):
    """Serves tasks that are runs. Whoever goes away from a task leaves it: it goes on.

    Args:
        runtime: Leads to the executor.
    """

    def __init__(self, runtime: WebRuntime) -> None:
        self._runtime = runtime

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task | None:
        """Returns a task."""
        with _errors():
            validate_history_length(params)
            return await self._tasks(context).get(params)

    @validate_request_params
    async def on_list_tasks(
        self, params: ListTasksRequest, context: ServerCallContext
    ) -> ListTasksResponse:
        """Returns a page of tasks."""
        with _errors():
            validate_history_length(params)
            return await self._tasks(context).list(params)

    @validate_request_params
    async def on_cancel_task(
        self, params: CancelTaskRequest, context: ServerCallContext
    ) -> Task | None:
        """Stops a task."""
        with _errors():
            return await self._tasks(context).cancel(params)

    @validate_request_params
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task:
        """Runs the agent."""
        with _errors():
            _refuse_push_notifications(params)
            validate_history_length(params.configuration)
            return await self._tasks(context).send(params)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Runs the agent, and tells what happens."""
        with _errors():
            _refuse_push_notifications(params)
            async with aclosing(self._tasks(context).send_streaming(params)) as updates:
                async for update in updates:
                    yield update

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Tells what happens to a task under way."""
        with _errors():
            async with aclosing(self._tasks(context).subscribe(params)) as updates:
                async for update in updates:
                    yield update

    async def on_create_task_push_notification_config(
        self, _params: TaskPushNotificationConfig, _context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuses."""
        _no_push_notifications()

    async def on_get_task_push_notification_config(
        self, _params: GetTaskPushNotificationConfigRequest, _context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuses."""
        _no_push_notifications()

    async def on_list_task_push_notification_configs(
        self, _params: ListTaskPushNotificationConfigsRequest, _context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """Refuses."""
        _no_push_notifications()

    async def on_delete_task_push_notification_config(
        self, _params: DeleteTaskPushNotificationConfigRequest, _context: ServerCallContext
    ) -> None:
        """Refuses."""
        _no_push_notifications()

    async def on_get_extended_agent_card(
        self, _params: GetExtendedAgentCardRequest, _context: ServerCallContext
    ) -> AgentCard:
        """Refuses: the card that everybody gets needs a token, and holds all."""
        raise ExtendedAgentCardNotConfiguredError

    def _tasks(self, context: ServerCallContext) -> AgentTasks:
        headers = context.state[_HEADERS]
        return AgentTasks(
            Executor.of(self._runtime, headers),
            context.state[_AGENT_ID],
            headers.get("authorization", ""),
            self._runtime.stopping,
        )


def _refuse_push_notifications(params: SendMessageRequest) -> None:
    # Whoever asks for them would wait for what never comes.
    if params.configuration.HasField("task_push_notification_config"):
        _no_push_notifications()


def _no_push_notifications() -> NoReturn:
    raise PushNotificationNotSupportedError(
        "Tasks tell nobody by themselves. Runs started over REST have webhooks."
    )


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except A2AError:
        raise
    except AgentExecutorError as error:
        raise error_to_a2a(error) from error
    except Exception as error:
        # Its text may tell of internals, and the SDK would show it.
        _LOGGER.exception("an A2A request broke")
        raise InternalError(_BROKEN) from error
