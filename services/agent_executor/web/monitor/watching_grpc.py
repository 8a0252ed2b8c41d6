"""One caller's stream of activities, wherever it is served."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from agent_executor.api.executor.v1 import monitor_service_pb2
from agent_executor.errors import UnauthenticatedError
from agent_executor.web.executor_grpc import Executor


class Watching:
    """A stream that is taken up where it breaks off, by the token that the caller came with.

    Args:
        executor: The executor on behalf of the caller.
        request: What the caller asks for.
    """

    def __init__(
        self, executor: Executor, request: monitor_service_pb2.StreamActivityRequest
    ) -> None:
        self._executor = executor
        self._request = request
        self._attempts = 0
        self._fruitful_attempts = 0

    @property
    def is_being_taken_up(self) -> bool:
        """Whether the newest attempt to be told anything has brought nothing yet."""
        return self._attempts > max(1, self._fruitful_attempts)

    async def activities(self) -> AsyncGenerator[monitor_service_pb2.Activity, None]:
        """Yields what happens.

        Raises:
            AgentExecutorError: As the executor answers.
        """
        activities = self._executor.stream_activity(self._request, self._begin)
        async with aclosing(activities):
            async for activity in activities:
                self._fruitful_attempts = self._attempts
                yield activity

    def is_too_old(self, error: Exception) -> bool:
        """Tells whether a stream ended since its token, good when it began, could not take it up.

        A key and a session outlive the tokens that the gateway exchanges them for.
        """
        return isinstance(error, UnauthenticatedError) and self.is_being_taken_up

    def _begin(self) -> Mapping[str, str]:
        self._attempts += 1
        return {}
