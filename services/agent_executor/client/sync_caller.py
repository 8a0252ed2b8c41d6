"""Makes the calls of the blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from agent_executor.client.attempts import Attempts
from agent_executor.client.call_options import CallOptions, Method
from agent_executor.client.credentials import SyncCredential
from agent_executor.client.failures import failure_of
from agent_executor.client.pages import following
from agent_executor.client.told import Told
from agent_executor.errors import AgentExecutorError, UnavailableError

ResponseT = TypeVar("ResponseT", bound=Message)
ItemT = TypeVar("ItemT")


class SyncCaller:
    """Makes calls and waits for their answers; threads may share it.

    Args:
        channels: The channel to each service by its name; see ``Method.service``.
        credential: Gives the bearer token.
        options: What calls are made with.
    """

    def __init__(
        self,
        channels: Mapping[str, grpc.Channel],
        credential: SyncCredential,
        options: CallOptions,
    ) -> None:
        self.channels = channels
        self.credential = credential
        self.options = options

    def unary(self, method: Method[ResponseT], request: Message) -> ResponseT:
        """Makes a call.

        Raises:
            AgentExecutorError: It was refused or failed.
        """
        attempts = Attempts(method, self.options)
        call = self.channels[method.service].unary_unary(
            method.path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=method.response.FromString,
        )
        while True:
            try:
                response: ResponseT = call(
                    request,
                    metadata=attempts.metadata(self.credential.token(self.channels)),
                    timeout=attempts.remaining_seconds(),
                )
            except grpc.RpcError as ended:
                error = failure_of(ended)
            except AgentExecutorError as failed:
                error = failed
            else:
                return response
            time.sleep(attempts.wait_seconds_after(error))

    def stream(
        self, method: Method[ResponseT], told: Told[ResponseT]
    ) -> Generator[ResponseT, None, None]:
        """Yields the messages of a stream, which is taken up where it was cut.

        Raises:
            AgentExecutorError: It was refused, or cannot go on.
        """
        attempts = Attempts(method, self.options)
        begin: grpc.UnaryStreamMultiCallable[Message, ResponseT] = self.channels[
            method.service
        ].unary_stream(
            method.path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=method.response.FromString,
        )
        while True:
            call = None
            error: AgentExecutorError = UnavailableError("The stream was cut.")
            try:
                metadata = attempts.metadata(self.credential.token(self.channels))
                call = begin(
                    told.request(),
                    metadata=(*metadata, *told.metadata.items()),
                    timeout=attempts.remaining_seconds(),
                )
                for message in call:
                    new = told.new(message)
                    if new is not None:
                        attempts.progressed()
                        yield new
                    if told.is_over:
                        return
                if told.may_just_end:
                    return
            except grpc.RpcError as ended:
                error = failure_of(ended)
            except AgentExecutorError as failed:
                error = failed
            finally:
                if call is not None:
                    call.cancel()
            time.sleep(attempts.wait_seconds_after(error))

    def pages(
        self,
        method: Method[ResponseT],
        request: Message,
        items: Callable[[ResponseT], Iterable[ItemT]],
    ) -> Pages[ResponseT, ItemT]:
        """Returns a list, of which nothing is read yet."""
        return Pages(self, method, request, items)


class Pages(Generic[ResponseT, ItemT]):
    """A list of the platform. To iterate over it reads it, page by page as it is needed.

    Args:
        caller: Makes the calls.
        method: Lists.
        request: Asks for the first page.
        items: Picks the items of a page.
    """

    def __init__(
        self,
        caller: SyncCaller,
        method: Method[ResponseT],
        request: Message,
        items: Callable[[ResponseT], Iterable[ItemT]],
    ) -> None:
        self._caller = caller
        self._method = method
        self._request = request
        self._items = items

    def __iter__(self) -> Iterator[ItemT]:
        for page in self.pages():
            yield from self._items(page)

    def pages(self) -> Iterator[ResponseT]:
        """Yields the pages themselves, which may hold more than the items.

        Raises:
            AgentExecutorError: A page was refused, or cannot be read.
        """
        request: Any = self._request
        while request is not None:
            page = self._caller.unary(self._method, request)
            request = following(request, page)
            yield page
